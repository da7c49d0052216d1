"""Exporters: stills (`png`, `jpeg`, `svg`) and films (`mp4`, `gif`, `apng`, `webp`, `frames`)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pixweave import Export, Field, Issue
from pixweave.errors import did_you_mean

if TYPE_CHECKING:
    from pixweave.component import BuildContext, RecipeInfo

COLOUR = "^#[0-9a-fA-F]{6}$"
SLOWEST = 0.01
"""Minimum frames per second of a film; containers cannot represent much longer frame times."""


class _Image(Export):
    """Common settings of all exporters."""

    longest: ClassVar[int] = 65_535  # maximum side of the format, in pixels

    scale: int = Field(
        1, ge=1, le=64, description="enlarge each pixel to a sharp square of this side"
    )

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """The image must have a size that the format can hold."""
        yield from super().check(recipe)
        width, height = self.sides(recipe)
        if max(width, height) > self.longest:
            yield Issue(
                "scale",
                f"{width}x{height} pixels are too large for this format, "
                f"whose maximum side is {self.longest}",
                "set a smaller scale",
            )

    def sides(self, recipe: RecipeInfo) -> tuple[int, int]:
        """Width and height of the written image in pixels."""
        width, height = recipe.shown_size
        return width * self.scale, height * self.scale


class _Film(_Image):
    """Common settings of all films."""

    fps: float | None = Field(
        None, gt=0, le=240, description="frames per second; by default the recipe's fps"
    )
    every: int = Field(1, ge=1, description="write only every n-th step")
    hold: float = Field(0.0, ge=0, le=600, description="extra seconds to show the last frame")
    loop: Literal["forward", "boomerang"] = Field(
        "forward", description="boomerang: play forwards, then backwards"
    )

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """The frame rate must not be below the minimum of the containers."""
        yield from super().check(recipe)
        if self.rate(recipe) < SLOWEST:
            yield Issue(
                "fps",
                f"a film has at least {SLOWEST} frames per second, not {self.rate(recipe):g}",
                f"set 'fps: {SLOWEST}' or more",
            )

    def rate(self, recipe: RecipeInfo) -> float:
        """Frames per second."""
        return self.fps or recipe.fps


class Png(_Image):
    """The final image as PNG, with transparency; indexed if the generator has a palette."""

    suffixes: ClassVar[tuple[str, ...]] = (".png",)

    def build(self, run: BuildContext) -> Any:
        """The exporter; it writes when it is closed."""
        from pixweave_export.still import Still, save_png

        return Still(self, run, save_png)


class Jpeg(_Image):
    """The final image as JPEG; transparent parts show `background`."""

    suffixes: ClassVar[tuple[str, ...]] = (".jpg", ".jpeg")

    quality: int = Field(92, ge=1, le=100, description="higher is better and larger")
    background: str = Field(
        "#ffffff", pattern=COLOUR, description="colour behind transparent parts"
    )

    def build(self, run: BuildContext) -> Any:
        """The exporter; it writes when it is closed."""
        from pixweave_export.still import Still, save_jpeg

        return Still(self, run, save_jpeg)


class Svg(_Image):
    """The final image as SVG: the shapes that the generator drew, sharp at any size.

    For generators that draw shapes: `strokes` and `pixel`. `scale` sets the displayed size.
    """

    suffixes: ClassVar[tuple[str, ...]] = (".svg",)

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """The generator must draw shapes; masks and filters do not apply to them."""
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
                "an SVG contains only shapes, not the pixels that the recipe's mask keeps",
                "remove the mask, or export a .png",
            )
        elif recipe.filters:
            yield Issue(
                "file",
                "an SVG contains the image before the filters",
                "remove the filters, or set scale",
                fatal=False,
            )

    def sides(self, recipe: RecipeInfo) -> tuple[int, int]:
        """Width and height at which the SVG is displayed, in pixels."""
        return recipe.size[0] * self.scale, recipe.size[1] * self.scale

    def build(self, run: BuildContext) -> Any:
        """The exporter; it writes when it is closed."""
        from pixweave_export.vector import SvgFile

        return SvgFile(self, run)


class Mp4(_Film):
    """The run as an H.264 film, encoded during the run; odd sides are padded by one pixel."""

    suffixes: ClassVar[tuple[str, ...]] = (".mp4", ".m4v", ".mov")

    codec: str = Field("libx264", description="libx264, libx265, libsvtav1 (AV1) or mpeg4")
    quality: int = Field(
        17, ge=1, le=51, description="constant rate factor; lower is better, larger"
    )
    background: str = Field(
        "#ffffff", pattern=COLOUR, description="colour behind transparent parts"
    )

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """The encoder must work on this machine, for this size and frame rate."""
        yield from super().check(recipe)
        from pixweave_export.video_codec import CODECS, trial

        if self.codec not in CODECS:
            yield Issue(
                "codec",
                f"'{self.codec}' is not a known video encoder",
                did_you_mean(self.codec, CODECS),
            )
            return
        width, height = self.sides(recipe)
        even = (width + width % 2, height + height % 2)
        if even != (width, height):
            yield Issue(
                "file",
                f"an MP4 needs even sides, so {width}x{height} becomes {even[0]}x{even[1]}",
                "the last row or column is repeated",
                fatal=False,
            )
        fps = self.rate(recipe)
        if fps >= SLOWEST and (reason := trial(self.file, self.codec, fps, even)):
            yield Issue(
                "codec",
                f"encoder '{self.codec}' cannot write {even[0]}x{even[1]} films here: {reason}",
                "try a smaller scale, the ending .mp4 or codec libx264",
            )

    def build(self, run: BuildContext) -> Any:
        """The exporter; it encodes frames as they arrive."""
        from pixweave_export.film import Video

        return Video(self, run)


class Gif(_Film):
    """The run as an animated GIF, in the generator's palette or up to 256 colours per frame."""

    suffixes: ClassVar[tuple[str, ...]] = (".gif",)
    format: ClassVar[Literal["gif"]] = "gif"

    repeat: int = Field(0, ge=0, le=65535, description="number of times to play; 0: for ever")

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """A GIF frame lasts at least two hundredths of a second."""
        yield from super().check(recipe)
        fps = self.rate(recipe)
        if fps > 50:
            yield Issue(
                "fps",
                f"a GIF shows at most 50 frames per second, not {fps:g}",
                "it will show 50; set 'fps: 50' or less",
                fatal=False,
            )

    def build(self, run: BuildContext) -> Any:
        """The exporter; it keeps frames on disk and writes when it is closed."""
        from pixweave_export.film import Animation

        return Animation(self, run)


class Apng(_Film):
    """The run as an animated PNG: lossless, with transparency."""

    suffixes: ClassVar[tuple[str, ...]] = (".apng",)
    also: ClassVar[tuple[str, ...]] = (".png",)
    format: ClassVar[Literal["apng"]] = "apng"

    repeat: int = Field(0, ge=0, le=65535, description="number of times to play; 0: for ever")

    def build(self, run: BuildContext) -> Any:
        """The exporter; it keeps frames on disk and writes when it is closed."""
        from pixweave_export.film import Animation

        return Animation(self, run)


class Webp(_Film):
    """The run as an animated WebP: small, with transparency."""

    suffixes: ClassVar[tuple[str, ...]] = (".webp",)
    longest: ClassVar[int] = 16_383
    format: ClassVar[Literal["webp"]] = "webp"

    lossless: bool | None = Field(
        None, description="lossless compression; by default if the generator has a palette"
    )
    quality: int = Field(85, ge=0, le=100, description="higher is better and larger")
    repeat: int = Field(0, ge=0, le=65535, description="number of times to play; 0: for ever")

    def build(self, run: BuildContext) -> Any:
        """The exporter; it keeps frames on disk and writes when it is closed."""
        from pixweave_export.film import Animation

        return Animation(self, run)


class Frames(_Image):
    """The steps of the run as numbered PNG files in a folder; `file` must end in `/`."""

    suffixes: ClassVar[tuple[str, ...]] = ("/",)

    every: int = Field(1, ge=1, description="write only every n-th step")

    def build(self, run: BuildContext) -> Any:
        """The exporter; it writes each frame as it arrives."""
        from pixweave_export.still import Folder

        return Folder(self, run)
