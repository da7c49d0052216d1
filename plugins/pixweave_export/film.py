"""Films: MP4, encoded during the run; GIF, APNG and WebP, from frames kept on disk."""

from __future__ import annotations

import contextlib
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from pixweave.media import atomic_write, images
from pixweave_export.animation import write_apng, write_gif, write_webp
from pixweave_export.frame_diff import Array
from pixweave_export.still import beside, over, palette_of
from pixweave_export.video_codec import abandon, open_film

if TYPE_CHECKING:
    from pixweave.component import BuildContext
    from pixweave.events import Frame
    from pixweave_export.export_settings import Apng, Gif, Mp4, Webp


class Spool:
    """Compressed frames in a temporary file, so that a long film does not fill the memory."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        self._places: list[tuple[int, int]] = []
        self._shape: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self._places)

    def append(self, array: Array) -> None:
        """Compress and append a frame."""
        if self._file is None:
            # in the run folder, as /tmp may be memory; unnamed, so that nothing can be left behind
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115
        compressed = zlib.compress(array.tobytes(), 1)
        self._shape = array.shape
        self._places.append((self._file.seek(0, 2), len(compressed)))
        self._file.write(compressed)

    def __getitem__(self, index: int) -> Array:
        place, length = self._places[index]
        assert self._file is not None
        self._file.seek(place)
        raw = zlib.decompress(self._file.read(length))
        return np.frombuffer(raw, dtype=np.uint8).reshape(self._shape)

    def close(self) -> None:
        """Drop the frames and free their disk space."""
        self._places = []
        if self._file is not None:
            file, self._file = self._file, None
            with contextlib.suppress(OSError):  # the disk may be full for buffered bytes
                file.close()


class Animation:
    """GIF, APNG or WebP: frames wait on disk, because boomerang and palette need all of them."""

    def __init__(self, settings: Gif | Apng | Webp, run: BuildContext) -> None:
        self.settings, self.run = settings, run
        self.path = run.folder / settings.file
        self.fps = settings.rate(run.recipe)
        self.palette = palette_of(run)
        self.spool = Spool(run.folder)
        self.last: Frame | None = None

    def write(self, frame: Frame) -> None:
        """Keep every n-th frame."""
        self.last = frame
        if frame.step % self.settings.every == 0:
            self._keep(frame)

    def close(self) -> list[Path]:
        """Write the film; it ends on the last frame, even if `every` skipped it."""
        if self.last is not None:
            self._keep(self.last)
        if not len(self.spool):  # already closed
            return [self.path]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write.whole(self.path) as part:
            self._save(part)
        self.spool.close()
        return [self.path]

    def abort(self) -> None:
        """Drop the frames."""
        self.spool.close()

    def _keep(self, frame: Frame) -> None:
        array = beside(frame)
        if self.palette is not None and images.indexed(array, self.palette) is None:
            self.palette = None
        self.spool.append(array)
        self.last = None

    def _shots(self) -> Iterator[tuple[Array, float]]:
        turn = len(self.spool) - 1
        for i in there_and_back(len(self.spool), self.settings.loop):
            seconds = 1 / self.fps + (self.settings.hold if i == turn else 0)
            yield images.enlarge(self.spool[i], self.settings.scale), seconds

    def _save(self, part: Path) -> None:
        settings, info = self.settings, self.run.metadata
        if settings.format == "gif":
            alpha = self.spool[0].shape[2] == 4
            write_gif(part, self._shots(), self.palette, settings.repeat, alpha, info)
        elif settings.format == "apng":
            write_apng(part, self._shots(), self.palette, settings.repeat, info)
        else:
            lossless = settings.lossless
            if lossless is None:
                lossless = palette_of(self.run) is not None
            write_webp(part, self._shots(), settings.repeat, lossless, settings.quality, info)


class Video:
    """MP4 through imageio and PyAV, encoded frame by frame."""

    def __init__(self, settings: Mp4, run: BuildContext) -> None:
        self.settings, self.run = settings, run
        self.path = run.folder / settings.file
        self.part = self.path.with_name(f".{self.path.stem}.part{self.path.suffix}")
        self.fps = settings.rate(run.recipe)
        self.spool = Spool(run.folder) if settings.loop == "boomerang" else None  # for the way back
        self.film: Any = None
        self.last: Frame | None = None

    def write(self, frame: Frame) -> None:
        """Encode every n-th frame."""
        self.last = frame
        if frame.step % self.settings.every == 0:
            self._encode(frame)

    def close(self) -> list[Path]:
        """Finish the film; it ends on the last frame, even if `every` skipped it."""
        if self.last is not None:
            self._encode(self.last)
        if self.film is None:  # already closed
            return [self.path]
        for _ in range(round(self.settings.hold * self.fps)):
            self.film.write_frame(self.picture)
        if self.spool is not None:
            for i in there_and_back(len(self.spool), "boomerang")[len(self.spool) :]:
                self.film.write_frame(self._even(self.spool[i]))
            self.spool.close()
        self.film.close()
        self.film = None
        with atomic_write.whole(self.path) as part:
            self.part.replace(part)
        return [self.path]

    def abort(self) -> None:
        """Delete what was encoded."""
        if self.spool is not None:
            self.spool.close()
        if self.film is not None:
            with contextlib.suppress(Exception):  # a broken encoder may be the reason to abort
                abandon(self.film)
            self.film = None
        self.part.unlink(missing_ok=True)

    def _encode(self, frame: Frame) -> None:
        self.last = None
        array = beside(frame)
        self.picture = self._even(array)
        if self.film is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.film = open_film(
                self.part, self.settings.codec, self.settings.quality, self.fps, self.run.metadata
            )
        self.film.write_frame(self.picture)
        if self.spool is not None:
            self.spool.append(array)

    def _even(self, array: Array) -> Array:
        """The frame as the encoder needs it: enlarged, opaque, with even sides."""
        array = over(images.enlarge(array, self.settings.scale), self.settings.background)
        height, width = array.shape[:2]
        return np.pad(array, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def there_and_back(count: int, loop: str) -> list[int]:
    """The order in which frames play; a boomerang does not repeat its first and last frame."""
    forward = list(range(count))
    return forward + forward[-2:0:-1] if loop == "boomerang" else forward
