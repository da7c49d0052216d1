"""Films: MP4 encoded while the run goes on; GIF, APNG and WebP from frames kept on disk."""

from __future__ import annotations

import contextlib
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pixweave import images, metadata
from pixweave_export.animation import write_apng, write_gif, write_webp
from pixweave_export.muxing import Array
from pixweave_export.still import beside, over, palette_of

if TYPE_CHECKING:
    from pixweave.protocols import Frame
    from pixweave.run import Run
    from pixweave_export import Apng, Gif, Mp4, Webp


class Spool:
    """Frames packed in a temporary file, so that a long film does not fill the memory."""

    def __init__(self, folder: Path) -> None:
        # in the run folder, because /tmp may be memory; without a name, so that nothing can be left
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - open as long as the film
        self._places: list[tuple[int, int]] = []
        self._shape: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self._places)

    def append(self, array: Array) -> None:
        """Pack a frame at the end."""
        packed = zlib.compress(array.tobytes(), 1)
        self._shape = array.shape
        self._places.append((self._file.seek(0, 2), len(packed)))
        self._file.write(packed)

    def __getitem__(self, index: int) -> Array:
        place, length = self._places[index]
        self._file.seek(place)
        raw = zlib.decompress(self._file.read(length))
        return np.frombuffer(raw, dtype=np.uint8).reshape(self._shape)

    def close(self) -> None:
        """Give the space back."""
        self._file.close()


class Animation:
    """GIF, APNG or WebP: frames wait on disk, because a boomerang and a palette need them all."""

    def __init__(self, settings: Gif | Apng | Webp, run: Run) -> None:
        self.settings, self.run = settings, run
        self.path = run.folder / settings.file
        self.fps = settings.fps or run.recipe.fps
        self.palette = palette_of(run)
        self.spool = Spool(run.folder)
        self.last: Frame | None = None

    def write(self, frame: Frame) -> None:
        """Keep each n-th frame."""
        self.last = frame
        if frame.step % self.settings.every == 0:
            self._keep(frame)

    def close(self) -> list[Path]:
        """Write the film; it ends on the last frame, even if `every` passed it over."""
        if self.last is not None:
            self._keep(self.last)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with images.whole(self.path) as part:
            self._save(part)
        self.spool.close()
        return [self.path]

    def abort(self) -> None:
        """Forget the frames."""
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
        kind, stamp = self.settings, self.run.stamp
        if kind.format == "gif":
            alpha = self.spool[0].shape[2] == 4
            write_gif(part, self._shots(), self.palette, kind.repeat, alpha, stamp)
        elif kind.format == "apng":
            write_apng(part, self._shots(), self.palette, kind.repeat, stamp)
        else:
            lossless = kind.lossless if kind.lossless is not None else self.palette is not None
            write_webp(part, self._shots(), kind.repeat, lossless, kind.quality, stamp)


class Video:
    """H.264 and its like through imageio and PyAV, encoded frame by frame."""

    def __init__(self, settings: Mp4, run: Run) -> None:
        self.settings, self.run = settings, run
        self.path = run.folder / settings.file
        self.part = self.path.with_name(f".{self.path.stem}.part{self.path.suffix}")
        self.fps = float(settings.fps or run.recipe.fps)
        self.spool = Spool(run.folder) if settings.loop == "boomerang" else None  # to play it back
        self.pending = False
        self.film: Any = None
        self.last: Array | None = None

    def write(self, frame: Frame) -> None:
        """Encode each n-th frame."""
        array = over(images.enlarge(beside(frame), self.settings.scale), self.settings.background)
        height, width = array.shape[:2]
        array = np.pad(array, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        self.pending = frame.step % self.settings.every != 0
        self.last = array
        if not self.pending:
            self._encode(array)
            if self.spool is not None:
                self.spool.append(array)

    def close(self) -> list[Path]:
        """Finish the film; it ends on the last frame, even if `every` passed it over."""
        assert self.last is not None
        if self.pending:
            self._encode(self.last)
        for _ in range(round(self.settings.hold * self.fps)):
            self._encode(self.last)
        if self.spool is not None:
            for i in range(len(self.spool) - 2 + self.pending, 0, -1):
                self._encode(self.spool[i])
            self.spool.close()
        self.film.close()
        self.film = None
        with images.whole(self.path) as part:
            self.part.replace(part)
        return [self.path]

    def abort(self) -> None:
        """Take away what was encoded."""
        if self.spool is not None:
            self.spool.close()
        if self.film is not None:
            with contextlib.suppress(Exception):  # it may be broken: that is why we are here
                self.film.close()
        self.part.unlink(missing_ok=True)

    def _encode(self, array: Array) -> None:
        if self.film is None:
            self.film = self._open()
        self.film.write_frame(array)

    def _open(self) -> Any:
        import imageio.v3 as iio

        self.path.parent.mkdir(parents=True, exist_ok=True)
        options = {"movflags": "use_metadata_tags+faststart"}
        film: Any = iio.imopen(self.part, "w", plugin="pyav", options=options)  # type: ignore[call-overload]
        film.container_metadata.update(metadata.for_mp4(self.run.stamp))
        film.init_video_stream(self.settings.codec, fps=self.fps, pixel_format="yuv420p")
        # imageio has no door to the encoder's own options
        film._video_stream.codec_context.options = self.settings.encoder_options()
        return film


def there_and_back(count: int, loop: str) -> list[int]:
    """The order in which frames play; the ends of a boomerang are not doubled."""
    forward = list(range(count))
    return forward + forward[-2:0:-1] if loop == "boomerang" else forward

