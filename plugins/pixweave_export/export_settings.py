"""Exporters: stills (`png`, `jpeg`, `svg`) and films (`mp4`, `gif`, `apng`, `webp`, `frames`)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pixweave import Component, Field, Issue
from pixweave.errors import did_you_mean

if TYPE_CHECKING:
    from pixweave.component import BuildContext, RecipeInfo

COLOUR = "^#[0-9a-fA-F]{6}$"
SLOWEST = 0.01
"""Frames a second of the slowest film; containers cannot count much longer times."""


class _Export(Component):
    """What all exporters share."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    also: ClassVar[tuple[str, ...]] = ()  # endings that it can write, but only if asked by name
    longest: ClassVar[int] = 65_535  # pixels on a side that the format can hold

    file: str = Field(min_length=1, description="name of the file, within the run folder")
    scale: int = Field(1, ge=1, le=64, description="each pixel as a crisp square of this side")

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """The file must lie in the run folder, under a name of its own."""
        path = PurePath(self.file)
        if path.is_absolute() or ".." in path.parts or "\\" in self.file or ":" in self.file:
            yield Issue(
                "file",
                f"'{self.file}' leads out of the run folder",
                "give a plain name; --out chooses the folder",
            )
        elif not self.file.lower().endswith(self.suffixes + self.also):
            yield Issue(
                "file",
                f"'{self.file}' does not end in {' or '.join(self.suffixes)}",
                "change the ending, or leave out 'use'",
            )
        elif not (
            self.file.isprintable()
            and path.name
            and path.name[0] != "."
            and len(path.name.encode()) <= 200
        ):
            yield Issue(
                "file",
                f"'{self.file[:80]}' is no name for a file",
                "it has up to 200 bytes, all printable, and begins with no dot",
            )
        width, height = self.sides(recipe)
        if max(width, height) > self.longest:
            yield Issue(
                "scale",
                f"{width}x{height} pixels are too many for this format, "
                f"which ends at {self.longest} a side",
                "set a smaller scale",
            )

    def sides(self, recipe: RecipeInfo) -> tuple[int, int]:
        """Width and height of what it writes, in pixels."""
        width, height = recipe.shown_size
        return width * self.scale, height * self.scale


class _Film(_Export):
    """What all films share."""

    fps: float | None = Field(
        None, gt=0, le=240, description="frames a second; by default the recipe's"
    )
    every: int = Field(1, ge=1, description="take each n-th step only")
    hold: float = Field(0.0, ge=0, le=600, description="seconds that the last frame stays")
    loop: Literal["forward", "boomerang"] = Field(
        "forward", description="boomerang: there and back again"
    )

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """The recipe's clock may be slower than any film."""
        yield from super().check(recipe)
        if self.rate(recipe) < SLOWEST:
            yield Issue(
                "fps",
                f"a film has at least {SLOWEST} frames a second, not {self.rate(recipe):g}",
                f"set 'fps: {SLOWEST}' or more",
            )

    def rate(self, recipe: RecipeInfo) -> float:
        """Frames a second."""
        return self.fps or recipe.fps


class Png(_Export):
    """The last picture as PNG; indexed where the generator has a palette, with its transparency."""

    suffixes: ClassVar[tuple[str, ...]] = (".png",)

    def build(self, run: BuildContext) -> Any:
        """Writes when it is closed."""
        from pixweave_export.still import Still, save_png

        return Still(self, run, save_png)


class Jpeg(_Export):
    """The last picture as JPEG; transparent parts show `background`."""

    suffixes: ClassVar[tuple[str, ...]] = (".jpg", ".jpeg")

    quality: int = Field(92, ge=1, le=100, description="more is finer and larger")
    background: str = Field(
        "#ffffff", pattern=COLOUR, description="colour behind transparent parts"
    )

    def build(self, run: BuildContext) -> Any:
        """Writes when it is closed."""
        from pixweave_export.still import Still, save_jpeg

        return Still(self, run, save_jpeg)


class Svg(_Export):
    """The last picture as SVG: the very shapes that the generator drew, sharp at any size.

    For generators that draw shapes: `strokes` and `pixel`. `scale` is how large it is shown.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".svg",)

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """The generator must draw shapes, and filters change pixels only."""
        yield from super().check(recipe)
        if "svg" not in recipe.generator.settings.can:
            yield Issue(
                "file",
                f"generator '{recipe.generator.use}' draws no shapes",
                "use strokes or pixel, or export a .png",
            )
        elif recipe.mask is not None:
            yield Issue(
                "file",
                "an SVG holds shapes alone, not what the recipe's mask keeps",
                "leave out the mask, or export a .png",
            )
        elif recipe.filters:
            yield Issue(
                "file",
                "an SVG holds the picture from before the filters",
                "leave out the filters, or set scale",
                fatal=False,
            )

    def sides(self, recipe: RecipeInfo) -> tuple[int, int]:
        """Width and height at which it is shown."""
        return recipe.size[0] * self.scale, recipe.size[1] * self.scale

    def build(self, run: BuildContext) -> Any:
        """Writes when it is closed."""
        from pixweave_export.vector import TensorGenerator

        return TensorGenerator(self, run)


class Mp4(_Film):
    """The run as an H.264 film, encoded while it runs; odd sides grow by a pixel to be even."""

    suffixes: ClassVar[tuple[str, ...]] = (".mp4", ".m4v", ".mov")

    codec: str = Field("libx264", description="libx264, libx265, libsvtav1 (AV1) or mpeg4")
    quality: int = Field(17, ge=1, le=51, description="constant rate factor: less is finer, larger")
    background: str = Field(
        "#ffffff", pattern=COLOUR, description="colour behind transparent parts"
    )

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """The encoder must work here, for this size and rate."""
        yield from super().check(recipe)
        from pixweave_export.video_codec import CODECS, trial

        if self.codec not in CODECS:
            yield Issue(
                "codec",
                f"'{self.codec}' is not an encoder for films",
                did_you_mean(self.codec, CODECS),
            )
            return
        width, height = self.sides(recipe)
        even = (width + width % 2, height + height % 2)
        if even != (width, height):
            yield Issue(
                "file",
                f"an MP4 has even sides, so {width}x{height} will be {even[0]}x{even[1]}",
                "its last row or column is doubled",
                fatal=False,
            )
        fps = self.rate(recipe)
        if fps >= SLOWEST and (reason := trial(self.file, self.codec, fps, even)):
            yield Issue(
                "codec",
                f"encoder '{self.codec}' cannot make {even[0]}x{even[1]} films here: {reason}",
                "try a smaller scale, the ending .mp4 or codec libx264",
            )

    def build(self, run: BuildContext) -> Any:
        """Encodes as frames come."""
        from pixweave_export.film import Video

        return Video(self, run)


class Gif(_Film):
    """The run as an animated GIF, with the generator's palette or up to 256 colours a frame."""

    suffixes: ClassVar[tuple[str, ...]] = (".gif",)
    format: ClassVar[Literal["gif"]] = "gif"

    repeat: int = Field(0, ge=0, le=65535, description="times to play; 0 is for ever")

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """A GIF frame lasts at least two hundredths of a second."""
        yield from super().check(recipe)
        fps = self.rate(recipe)
        if fps > 50:
            yield Issue(
                "fps",
                f"a GIF shows at most 50 frames a second, not {fps:g}",
                "it will show 50; say 'fps: 50' or less",
                fatal=False,
            )

    def build(self, run: BuildContext) -> Any:
        """Keeps frames on disk, writes when it is closed."""
        from pixweave_export.film import Animation

        return Animation(self, run)


class Apng(_Film):
    """The run as an animated PNG: lossless, with transparency."""

    suffixes: ClassVar[tuple[str, ...]] = (".apng",)
    also: ClassVar[tuple[str, ...]] = (".png",)
    format: ClassVar[Literal["apng"]] = "apng"

    repeat: int = Field(0, ge=0, le=65535, description="times to play; 0 is for ever")

    def build(self, run: BuildContext) -> Any:
        """Keeps frames on disk, writes when it is closed."""
        from pixweave_export.film import Animation

        return Animation(self, run)


class Webp(_Film):
    """The run as an animated WebP: small, with transparency."""

    suffixes: ClassVar[tuple[str, ...]] = (".webp",)
    longest: ClassVar[int] = 16_383
    format: ClassVar[Literal["webp"]] = "webp"

    lossless: bool | None = Field(
        None, description="keep every pixel; by default where the generator has a palette"
    )
    quality: int = Field(85, ge=0, le=100, description="more is finer and larger")
    repeat: int = Field(0, ge=0, le=65535, description="times to play; 0 is for ever")

    def build(self, run: BuildContext) -> Any:
        """Keeps frames on disk, writes when it is closed."""
        from pixweave_export.film import Animation

        return Animation(self, run)


class Frames(_Export):
    """The steps of the run as numbered PNG files in a folder; its name ends in `/`."""

    suffixes: ClassVar[tuple[str, ...]] = ("/",)

    every: int = Field(1, ge=1, description="take each n-th step only")

    def build(self, run: BuildContext) -> Any:
        """Writes each frame as it comes."""
        from pixweave_export.still import Folder

        return Folder(self, run)
