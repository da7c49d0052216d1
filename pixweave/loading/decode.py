"""Decode one picture file into what a perceptor looks at: 8-bit squares of its own size.

JPEGs are decoded at a reduced scale (libjpeg's, by Pillow's `draft`), still at least twice as large
as wanted: of a 12-megapixel photograph that takes a quarter of the time, and changes a pixel by
0.2 of 255 on average. Size and crop are those of open_clip's own preprocessing, pixel for pixel
where nothing was reduced.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
import struct
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pixweave.loading.find_images import UnreadableImage
from pixweave.media.exif import SIDEWAYS, capture_time, orientation, upright
from pixweave.media.images import MOST_PIXELS

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    Array = np.ndarray[Any, Any]

MOST_BYTES = 1 << 30
"""Larger files are not read."""

LONG = 32
"""Pictures longer than this times their width are cut to it before they are resized."""


@dataclass(frozen=True)
class Preprocessing:
    """How a picture is brought to the size of a perceptor.

    `fit`: `crop` keeps the middle square, `squash` distorts to a square, `pad` adds `background`
    around. What is transparent shows `background`. Of an animated file, `frames` of its pictures
    are taken, evenly spread; one is the first, as viewers show it.
    """

    size: int
    fit: Literal["crop", "squash", "pad"] = "crop"
    method: Literal["bicubic", "bilinear"] = "bicubic"
    background: tuple[int, int, int] = (255, 255, 255)
    frames: int = 1
    draft: bool = True

    @classmethod
    def of_key(cls, key: str) -> Preprocessing:
        """The look that has this `key`."""
        fit, size, method, colour, frames = key.split("/")
        red, green, blue = bytes.fromhex(colour)
        chosen: dict[str, Any] = {"fit": fit, "method": method}
        return cls(int(size), background=(red, green, blue), frames=int(frames), **chosen)

    @property
    def key(self) -> str:
        """A short text that is equal when pictures come out equal."""
        colour = bytes(self.background).hex()
        return f"{self.fit}/{self.size}/{self.method}/{colour}/{self.frames}"


@dataclass(frozen=True)
class DecodedImage:
    """What was read of a file.

    `digest` is a BLAKE2b of its bytes; `pixels` uint8 `[K, S, S, 3]`, K the frames taken, or None
    where `skip(digest)` said that they are known; `frames` their numbers; `width` and `height` are
    those of the whole picture as it is shown; `taken` is the camera's time in seconds, or None.
    """

    path: str
    digest: bytes
    pixels: Array | None = None
    frames: tuple[int, ...] = (0,)
    width: int = 0
    height: int = 0
    format: str = ""
    taken: float | None = None


def decode_image(
    path: str | os.PathLike[str], look: Preprocessing, skip: Callable[[bytes], bool] | None = None
) -> DecodedImage | UnreadableImage:
    """The picture in a file, or why there is none; never raises for what a file may hold.

    A JPEG that breaks off, a wrong ending, more than MOST_PIXELS: each has its reason. With `skip`,
    a file whose digest it knows is not decoded. Bring `quiet_pillow()` around many calls.
    """
    name = os.fsdecode(path)
    try:
        data = _bytes(name)
        digest = hashlib.blake2b(data, digest_size=16).digest()
        if skip is not None and skip(digest):
            return DecodedImage(name, digest)
        return _decoded(name, data, digest, look)
    except _RefusedError as refused:
        return UnreadableImage(name, str(refused))
    except MemoryError:
        return UnreadableImage(name, "there is not enough memory to decode it")
    except OSError as error:
        if error.errno is not None and error.strerror:
            return UnreadableImage(name, f"the file cannot be read: {error.strerror.lower()}")
        return UnreadableImage(name, _said(error))
    except Exception as error:  # decoders raise whatever they like on broken files
        return UnreadableImage(name, _said(error))


@contextlib.contextmanager
def quiet_pillow() -> Iterator[None]:
    """Silences Pillow's warnings about damage that hurts nobody; not for worker threads to enter.

    The warning filters belong to the whole process: enter it once, around the threads.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


class _RefusedError(Exception):
    """A picture that is not read, with the reason."""


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MOST_BYTES:
            raise _RefusedError(f"{size / 2**30:.1f} GiB are too many to read")
        data = file.read(MOST_BYTES + 1)
    if not data:
        raise _RefusedError("the file is empty")
    return data


def _decoded(path: str, data: bytes, digest: bytes, look: Preprocessing) -> DecodedImage:
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    _check_codec(path, data)
    try:
        opened = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        raise _RefusedError("this is no picture that can be read") from None
    except Image.DecompressionBombError:
        raise _RefusedError("it has more pixels than are safe to read") from None
    with opened:
        turn = orientation(opened)
        width, height = opened.size
        if look.draft:
            opened.draft("RGB", (2 * look.size, 2 * look.size))
        if opened.width * opened.height > MOST_PIXELS:
            raise _RefusedError(f"{width}x{height} pixels are too many to read")
        numbers = _frames(opened, look.frames)
        shown = []
        for number in numbers:
            if number:
                opened.seek(number)
            shown.append(_square(upright(_rgb(opened, look), turn), look))
        if turn in SIDEWAYS:
            width, height = height, width
        return DecodedImage(
            path,
            digest,
            np.stack(shown),
            numbers,
            width,
            height,
            (opened.format or "").lower(),
            capture_time(opened),
        )


def _check_codec(path: str, data: bytes) -> None:
    """Raise _RefusedError, with the remedy, for a HEIC file where the library is not installed."""
    brand = data[4:12]
    if brand[:4] != b"ftyp":
        return
    if brand[4:] in (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"hevx"):
        if not _heif():
            raise _RefusedError("HEIC needs a decoder: pip install pillow-heif")
    elif brand[4:] in (b"avif", b"avis"):
        from PIL import features

        if not features.check("avif"):
            raise _RefusedError("this Pillow is built without AVIF: pip install -U pillow")


@functools.cache
def _heif() -> bool:
    """Whether a HEIC library is there; it is then known to Pillow."""
    for name in ("pillow_heif", "pi_heif"):
        with contextlib.suppress(ImportError):
            __import__(name).register_heif_opener()
            return True
    return False


def _frames(opened: Image.Image, wanted: int) -> tuple[int, ...]:
    """Which frames to look at, evenly spread over the file, the first among them."""
    count = getattr(opened, "n_frames", 1) if wanted > 1 else 1
    if opened.format in ("MPO", "TIFF", "ICO", "ICNS", "PSD"):  # parts of one thing, not a film
        count = 1
    taken = min(wanted, count)
    return tuple(number * count // taken for number in range(taken))


def _rgb(opened: Image.Image, look: Preprocessing) -> Image.Image:
    """The picture in 8-bit RGB over the background, whatever its mode."""
    from PIL import Image

    picture: Image.Image = opened
    if picture.mode.startswith(("I", "F")):
        return _deep(picture).convert("RGB")
    if picture.has_transparency_data:
        clear = picture.convert("RGBA")
        ground = Image.new("RGBA", clear.size, (*look.background, 255))
        return Image.alpha_composite(ground, clear).convert("RGB")
    return picture.convert("RGB")


def _deep(picture: Image.Image) -> Image.Image:
    """More than 8 bits a channel as grey: integers of 16 bits, floats of 0..1 or what they span."""
    import numpy as np
    from PIL import Image

    array = np.asarray(picture).astype(np.float64)
    if picture.mode.startswith("I"):
        array = array / 257 if array.max(initial=0) > 255 or ";16" in picture.mode else array
    else:
        array = np.nan_to_num(array)
        low, high = array.min(initial=0), array.max(initial=1)
        array = (array - low) / (high - low) * 255
    return Image.fromarray(array.round().clip(0, 255).astype(np.uint8))


def _square(picture: Image.Image, look: Preprocessing) -> Array:
    """uint8 `[S, S, 3]`, as torchvision's Resize and CenterCrop make it of a Pillow picture."""
    import numpy as np
    from PIL import Image, ImageOps

    side = look.size
    method = Image.Resampling.BICUBIC if look.method == "bicubic" else Image.Resampling.BILINEAR
    if look.fit == "squash":
        picture = picture.resize((side, side), method)
    elif look.fit == "pad":
        picture = ImageOps.pad(picture, (side, side), method, look.background)
    else:
        picture = _cut_long(picture)
        width, height = picture.size
        short = min(width, height)
        wide, high = (side * width // short, side * height // short)
        if (width, height) != (wide, high):
            picture = picture.resize((wide, high), method)
        left, top = round((wide - side) / 2), round((high - side) / 2)
        picture = picture.crop((left, top, left + side, top + side))
    return np.asarray(picture)


def _cut_long(picture: Image.Image) -> Image.Image:
    """The middle of a picture that is so long that resizing all of it would take much memory."""
    width, height = picture.size
    most = LONG * min(width, height)
    if width > most:
        left = (width - most) // 2
        return picture.crop((left, 0, left + most, height))
    if height > most:
        top = (height - most) // 2
        return picture.crop((0, top, width, top + most))
    return picture


def _said(error: Exception) -> str:
    """What a decoder says, in one line."""
    if isinstance(error, struct.error | SyntaxError | EOFError | IndexError | KeyError):
        return "the file is damaged"
    text = " ".join(str(error).split())[:200]
    return text[:1].lower() + text[1:] if text else f"it cannot be decoded ({type(error).__name__})"
