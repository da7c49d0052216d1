"""Films: MP4 encoded while the run goes on; GIF, APNG and WebP from frames kept on disk."""

from __future__ import annotations

import tempfile
import zlib
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pixweave_export.still import beside, over, palette_of

from pixweave import images, metadata

if TYPE_CHECKING:
    from PIL import Image

    from pixweave.protocols import Frame
    from pixweave.run import Run

Array = np.ndarray[Any, Any]


class Spool:
    """Frames packed in a temporary file, so that a long film does not fill the memory."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the film
        self._places: list[tuple[int, int]] = []
        self._shape: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self._places)

    def append(self, array: Array) -> None:
        """Pack a frame at the end."""
        packed = zlib.compress(np.ascontiguousarray(array), 1)
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
    """GIF, APNG or WebP by Pillow, which needs all frames at hand when it writes."""

    def __init__(self, settings: Any, run: Run) -> None:
        self.settings, self.run = settings, run
        self.path = run.folder / settings.file
        self.fps = settings.fps or run.recipe.fps
        self.spool = Spool()
        self.last: Frame | None = None

    def write(self, frame: Frame) -> None:
        """Keep each n-th frame."""
        self.last = frame
        if frame.step % self.settings.every == 0:
            self.spool.append(images.enlarge(beside(frame), self.settings.scale))
            self.last = None

    def close(self) -> list[Path]:
        """Write the film; it ends on the last frame, even if `every` passed it over."""
        if self.last is not None:
            self.spool.append(images.enlarge(beside(self.last), self.settings.scale))
        order = there_and_back(len(self.spool), self.settings.loop)
        durations = [1000 / self.fps] * len(order)
        turn = len(self.spool) - 1
        durations[turn] += 1000 * self.settings.hold
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with images.whole(self.path) as part:
            self._save(part, order, durations)
        self.spool.close()
        return [self.path]

    def abort(self) -> None:
        """Forget the frames."""
        self.spool.close()

    def _save(self, part: Path, order: list[int], durations: list[float]) -> None:
        kind = {".gif": "GIF", ".apng": "PNG", ".webp": "WEBP"}[self.path.suffix.lower()]
        palette = palette_of(self.run) if kind != "WEBP" else None
        pictures = (self._picture(self.spool[i], kind, palette) for i in order)
        first = next(pictures)
        options: dict[str, Any] = {
            "save_all": True, "append_images": pictures, "loop": self.settings.repeat,
            "duration": durations,
        }
        if kind == "GIF":  # hundredths of a second, at least two: shorter ones are slowed down
            options["duration"] = [max(20, round(d / 10) * 10) for d in durations]
            options |= {"disposal": 2 if "transparency" in first.info else 1, "optimize": False,
                        "comment": metadata.for_gif(self.run.stamp)}
        elif kind == "PNG":
            options |= {"pnginfo": metadata.for_png(self.run.stamp)}
        else:
            options |= {"lossless": self.settings.lossless, "quality": self.settings.quality,
                        "method": 4, "exif": metadata.for_exif(self.run.stamp),
                        "append_images": list(pictures),
                        "duration": [round(d) for d in durations]}
        first.save(part, kind, **options)

    def _picture(self, array: Array, kind: str, palette: Array | None) -> Image.Image:
        if kind == "GIF" and array.shape[2] == 4:  # a GIF pixel is there or not
            array = array.copy()
            array[..., 3] = np.where(array[..., 3] < 128, 0, 255)
        picture = images.to_pillow(array, palette)
        if kind == "GIF" and picture.mode == "RGB":
            return picture.quantize(256)
        return picture


class Video:
    """H.264 and its like through imageio and PyAV, encoded frame by frame."""

    def __init__(self, settings: Any, run: Run) -> None:
        self.settings, self.run = settings, run
        self.path = run.folder / settings.file
        self.part = self.path.with_name(f".{self.path.stem}.part{self.path.suffix}")
        self.fps = Fraction(settings.fps or run.recipe.fps).limit_denominator(1001)
        self.spool = Spool() if settings.loop == "boomerang" else None  # to play it backwards
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
        self.part.replace(self.path)
        return [self.path]

    def abort(self) -> None:
        """Take away what was encoded."""
        if self.film is not None:
            self.film.close()
        self.part.unlink(missing_ok=True)

    def _encode(self, array: Array) -> None:
        if self.film is None:
            self.film = self._open()
        self.film.write_frame(array)

    def _open(self) -> Any:
        import imageio.v3 as iio

        self.path.parent.mkdir(parents=True, exist_ok=True)
        # PyAV hands what the container does not know on to the encoder: crf, preset
        options = {"movflags": "use_metadata_tags+faststart", "crf": str(self.settings.quality),
                   "preset": "medium"}
        film = iio.imopen(self.part, "w", plugin="pyav", options=options)
        film.container_metadata.update(metadata.for_mp4(self.run.stamp))
        film.init_video_stream(self.settings.codec, fps=float(self.fps), pixel_format="yuv420p")
        return film


def there_and_back(count: int, loop: str) -> list[int]:
    """The order in which frames play; the ends of a boomerang are not doubled."""
    forward = list(range(count))
    return forward + forward[-2:0:-1] if loop == "boomerang" else forward

