"""Exporters: stills (`png`, `jpeg`) and films (`mp4`, `gif`, `apng`, `webp`, `frames`)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pixweave import Complaint, Component, Field, hookimpl

if TYPE_CHECKING:
    from pixweave.recipe import Recipe
    from pixweave.run import Run

COLOUR = "^#[0-9a-fA-F]{6}$"


class _Export(Component):
    """What all exporters share."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    also: ClassVar[tuple[str, ...]] = ()  # endings that it can write, but only if asked by name

    file: str = Field(min_length=1, description="name of the file, within the run folder")
    scale: int = Field(1, ge=1, le=64, description="each pixel as a crisp square of this side")

    def check(self, recipe: Recipe) -> Iterable[Complaint]:
        """The file must lie in the run folder, under a name of its own."""
        path = PurePath(self.file)
        if path.is_absolute() or ".." in path.parts or "\\" in self.file or ":" in self.file:
            yield Complaint("file", f"'{self.file}' leads out of the run folder",
                            "give a plain name; --out chooses the folder")
        if not self.file.lower().endswith(self.suffixes + self.also):
            yield Complaint("file", f"'{self.file}' does not end in {' or '.join(self.suffixes)}",
                            "change the ending, or leave out 'use'")


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


class Png(_Export):
    """The last picture as PNG; indexed where the generator has a palette, with its transparency."""

    suffixes: ClassVar[tuple[str, ...]] = (".png",)

    def build(self, run: Run) -> Any:
        """Writes when it is closed."""
        from pixweave_export.still import Still

        return Still(self, run)


class Jpeg(_Export):
    """The last picture as JPEG; transparent parts show `background`."""

    suffixes: ClassVar[tuple[str, ...]] = (".jpg", ".jpeg")

    quality: int = Field(92, ge=1, le=100, description="more is finer and larger")
    background: str = Field(
        "#ffffff", pattern=COLOUR, description="colour behind transparent parts"
    )

    def build(self, run: Run) -> Any:
        """Writes when it is closed."""
        from pixweave_export.still import Still

        return Still(self, run)


class Mp4(_Film):
    """The run as an H.264 film, encoded while it runs; odd sides grow by a pixel to be even."""

    suffixes: ClassVar[tuple[str, ...]] = (".mp4", ".m4v", ".mov")

    codec: str = Field("libx264", description="a video encoder of FFmpeg")
    quality: int = Field(
        17, ge=0, le=51, description="constant rate factor: less is finer, larger"
    )
    background: str = Field(
        "#ffffff", pattern=COLOUR, description="colour behind transparent parts"
    )

    def check(self, recipe: Recipe) -> Iterable[Complaint]:
        """The encoder must be in the installed FFmpeg."""
        yield from super().check(recipe)
        import av  # without torch; only when an MP4 is asked for

        try:
            av.codec.Codec(self.codec, "w")
        except (av.error.FFmpegError, ValueError):
            from pixweave.errors import did_you_mean

            known = ("libx264", "libx265", "libsvtav1", "mpeg4", "h264_nvenc", "hevc_nvenc")
            yield Complaint("codec", f"there is no encoder '{self.codec}' in this FFmpeg",
                            did_you_mean(self.codec, known))
            return
        width, height = (side * self.scale for side in recipe.size)
        if width % 2 or height % 2:
            even = f"{width + width % 2}x{height + height % 2}"
            yield Complaint("file", f"an MP4 has even sides, so {width}x{height} will be {even}",
                            "its last row or column is doubled", fatal=False)

    def encoder_options(self) -> dict[str, str]:
        """`quality` in the words of the encoder."""
        if self.codec == "mpeg4":  # it knows no rate factor, only quantisers 1..31
            quantiser = str(max(1, round(self.quality / 51 * 31)))
            return {"qmin": quantiser, "qmax": quantiser}
        return {"crf": str(self.quality)}

    def build(self, run: Run) -> Any:
        """Encodes as frames come."""
        from pixweave_export.film import Video

        return Video(self, run)


class Gif(_Film):
    """The run as an animated GIF, with the generator's palette or up to 256 colours a frame."""

    suffixes: ClassVar[tuple[str, ...]] = (".gif",)
    format: ClassVar[Literal["gif"]] = "gif"

    repeat: int = Field(0, ge=0, le=65535, description="times to play; 0 is for ever")

    def check(self, recipe: Recipe) -> Iterable[Complaint]:
        """A GIF frame lasts at least two hundredths of a second."""
        yield from super().check(recipe)
        fps = self.fps or recipe.fps
        if fps > 50:
            yield Complaint("fps", f"a GIF shows at most 50 frames a second, not {fps:g}",
                            "it will show 50; say 'fps: 50' or less", fatal=False)

    def build(self, run: Run) -> Any:
        """Keeps frames on disk, writes when it is closed."""
        from pixweave_export.film import Animation

        return Animation(self, run)


class Apng(_Film):
    """The run as an animated PNG: lossless, with transparency."""

    suffixes: ClassVar[tuple[str, ...]] = (".apng",)
    also: ClassVar[tuple[str, ...]] = (".png",)
    format: ClassVar[Literal["apng"]] = "apng"

    repeat: int = Field(0, ge=0, description="times to play; 0 is for ever")

    def build(self, run: Run) -> Any:
        """Keeps frames on disk, writes when it is closed."""
        from pixweave_export.film import Animation

        return Animation(self, run)


class Webp(_Film):
    """The run as an animated WebP: small, with transparency."""

    suffixes: ClassVar[tuple[str, ...]] = (".webp",)
    format: ClassVar[Literal["webp"]] = "webp"

    lossless: bool | None = Field(
        None, description="keep every pixel; by default where the generator has a palette"
    )
    quality: int = Field(85, ge=0, le=100, description="more is finer and larger")
    repeat: int = Field(0, ge=0, le=65535, description="times to play; 0 is for ever")

    def build(self, run: Run) -> Any:
        """Keeps frames on disk, writes when it is closed."""
        from pixweave_export.film import Animation

        return Animation(self, run)


class Frames(_Export):
    """The steps of the run as numbered PNG files in a folder; its name ends in `/`."""

    suffixes: ClassVar[tuple[str, ...]] = ("/",)

    every: int = Field(1, ge=1, description="take each n-th step only")

    def build(self, run: Run) -> Any:
        """Writes each frame as it comes."""
        from pixweave_export.still import Folder

        return Folder(self, run)


@hookimpl
def register_exporters() -> dict[str, type[Component]]:
    """Offer them all."""
    return {"png": Png, "jpeg": Jpeg, "mp4": Mp4, "gif": Gif, "apng": Apng, "webp": Webp,
            "frames": Frames}
