"""Stills: the last frame as a file, or every frame in a folder."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pixweave.media import atomic_write, images, metadata

if TYPE_CHECKING:
    from pixweave.component import BuildContext
    from pixweave.events import Frame

Array = np.ndarray[Any, Any]
Save = Callable[[Array, Path, Any, "BuildContext"], None]


class Still:
    """Writes the last frame as one file, or as `name-1`, `name-2`... for a batch."""

    def __init__(self, settings: Any, run: BuildContext, save: Save) -> None:
        self.settings, self.run, self.save = settings, run, save
        self.path = run.folder / settings.file
        self.last: Frame | None = None

    def write(self, frame: Frame) -> None:
        """Keep the frame; only the last one is converted and written."""
        self.last = frame

    def close(self) -> list[Path]:
        """Write the last frame."""
        assert self.last is not None
        self.path.parent.mkdir(parents=True, exist_ok=True)
        written = []
        for i, image in enumerate(self.last.image):
            alone = len(self.last.image) == 1
            path = self.path if alone else self.path.with_stem(f"{self.path.stem}-{i + 1}")
            array = images.enlarge(images.to_uint8(image), self.settings.scale)
            with atomic_write.whole(path) as part:
                self.save(array, part, self.settings, self.run)
            written.append(path)
        return written

    def abort(self) -> None:
        """Do nothing: no file was written."""


class Folder:
    """Writes every n-th frame as `000000.png`...; the folder is renamed into place at the end."""

    def __init__(self, settings: Any, run: BuildContext) -> None:
        self.settings, self.run = settings, run
        self.path = run.folder / settings.file
        self.part = self.path.with_name(f".{self.path.name}.part")
        self.last: Frame | None = None

    def write(self, frame: Frame) -> None:
        """Write the frame at once, or keep it in case it is the last."""
        self.last = frame
        if frame.step % self.settings.every == 0:
            self._write(frame)

    def _write(self, frame: Frame) -> None:
        self.last = None
        self.part.mkdir(parents=True, exist_ok=True)
        array = images.enlarge(beside(frame), self.settings.scale)
        path = self.part / f"{frame.step:06}.png"
        with atomic_write.whole(path) as part:
            save_png(array, part, self.settings, self.run)

    def close(self) -> list[Path]:
        """Rename the folder into place; it always contains the last frame, whatever `every` is."""
        if self.last is not None:
            self._write(self.last)
        if self.part.exists():  # otherwise already closed
            if self.path.exists():
                shutil.rmtree(self.path)
            os.replace(self.part, self.path)
        return [self.path]

    def abort(self) -> None:
        """Delete what was written."""
        shutil.rmtree(self.part, ignore_errors=True)


def beside(frame: Frame) -> Array:
    """The frame as one array `[H, W, C]`, with the images of a batch side by side."""
    return np.concatenate([images.to_uint8(image) for image in frame.image], axis=1)


def over(array: Array, background: str) -> Array:
    """The image composited over a background colour, `[H, W, 3]`."""
    from PIL import ImageColor

    if array.shape[2] == 3:
        return array
    alpha = array[..., 3:].astype(np.float32) / 255
    behind = np.array(ImageColor.getrgb(background)[:3], dtype=np.float32)
    return (array[..., :3] * alpha + behind * (1 - alpha)).round().astype(np.uint8)


def palette_of(run: BuildContext) -> Array | None:
    """The generator's palette `[K, 3]` of uint8; None if it has none."""
    palette = getattr(run.generator, "palette", None)
    return None if palette is None else palette.cpu().numpy()


def save_png(array: Array, path: Path, settings: Any, run: BuildContext) -> None:
    """Write a PNG, indexed if the generator has a palette, with the run's metadata embedded."""
    picture = images.to_pillow(array, palette_of(run))
    # optimize=True would take 15 times as long to save a tenth of the size
    picture.save(path, "PNG", pnginfo=metadata.for_png(run.metadata))


def save_jpeg(array: Array, path: Path, settings: Any, run: BuildContext) -> None:
    """Write a JPEG over `settings.background`, with the run's metadata embedded."""
    picture = images.to_pillow(over(array, settings.background))
    exif = metadata.for_exif(run.metadata)
    picture.save(path, "JPEG", quality=settings.quality, subsampling=0, exif=exif)
