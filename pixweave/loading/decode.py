"""Decode one image file into the input of a perceptor: 8-bit squares of its size.

JPEGs are decoded at a reduced scale (libjpeg's, by Pillow's `draft`), still at least twice as large
as needed: for a 12-megapixel photograph that takes a quarter of the time, and changes a pixel by
0.2 of 255 on average. Resizing and cropping match open_clip's preprocessing, pixel for pixel if
nothing was decoded at a reduced scale.
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

from pixweave.loading.image_files import UnreadableImage
from pixweave.media.exif import SIDEWAYS, capture_time, orientation, upright
from pixweave.media.images import MOST_PIXELS

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    Array = np.ndarray[Any, Any]

MOST_BYTES = 1 << 30
"""Larger files are not read."""

LONG = 32
"""Images with a larger aspect ratio are cropped to it before they are resized."""


@dataclass(frozen=True)
class Preprocessing:
    """How an image is brought to the size of a perceptor.

    `fit`: `crop` keeps the centre square, `squash` distorts to a square, `pad` adds `background`
    around the image. `background` also replaces transparency. Of an animated file, `frames` evenly
    spaced frames are used, the first of them always included.
    """

    size: int
    fit: Literal["crop", "squash", "pad"] = "crop"
    method: Literal["bicubic", "bilinear"] = "bicubic"
    background: tuple[int, int, int] = (255, 255, 255)
    frames: int = 1
    draft: bool = True

    @classmethod
    def of_key(cls, key: str) -> Preprocessing:
        """The Preprocessing that has this `key`."""
        fit, size, method, colour, frames = key.split("/")
        red, green, blue = bytes.fromhex(colour)
        choices: dict[str, Any] = {"fit": fit, "method": method}
        return cls(int(size), background=(red, green, blue), frames=int(frames), **choices)

    @property
    def key(self) -> str:
        """A short text, equal for settings that give equal pixels."""
        colour = bytes(self.background).hex()
        return f"{self.fit}/{self.size}/{self.method}/{colour}/{self.frames}"


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image file.

    `digest` is a BLAKE2b of its bytes; `pixels` uint8 `[K, S, S, 3]` for K frames, or None if
    `skip(digest)` returned true; `frames` the frame numbers; `width` and `height` are those of the
    whole image after EXIF rotation; `taken` is the camera's time in seconds, or None.
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
    """The decoded image of a file, or the reason why it is unreadable; never raises for bad files.

    Truncated JPEGs, wrong file types and images of more than MOST_PIXELS each have their reason.
    A file for whose digest `skip` returns true is not decoded. Wrap many calls in `quiet_pillow()`.
    """
    name = os.fsdecode(path)
    try:
        data = _bytes(name)
        digest = hashlib.blake2b(data, digest_size=16).digest()
        if skip is not None and skip(digest):
            return DecodedImage(name, digest)
        return _decode(name, data, digest, look)
    except _RefusedError as refused:
        return UnreadableImage(name, str(refused))
    except MemoryError:
        return UnreadableImage(name, "there is not enough memory to decode it")
    except OSError as error:
        if error.errno is not None and error.strerror:
            return UnreadableImage(name, f"the file cannot be read: {error.strerror.lower()}")
        return UnreadableImage(name, _message(error))
    except Exception as error:  # decoders raise all kinds of errors on corrupt files
        return UnreadableImage(name, _message(error))


def picture_square(picture: Image.Image, preprocessing: Preprocessing) -> Array:
    """uint8 `[S, S, 3]` of a Pillow image, as `decode_image` gives it for a file."""
    return _square(upright(_rgb(picture, preprocessing), orientation(picture)), preprocessing)


@contextlib.contextmanager
def quiet_pillow() -> Iterator[None]:
    """Silences Pillow's warnings about harmless damage; do not enter it in worker threads.

    Warning filters apply to the whole process: enter it once, around the threads.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        yield


class _RefusedError(Exception):
    """The image is refused, with the reason."""


def _bytes(path: str) -> bytes:
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size > MOST_BYTES:
            raise _RefusedError(f"the file is too large to read ({size / 2**30:.1f} GiB)")
        data = file.read(MOST_BYTES + 1)
    if not data:
        raise _RefusedError("the file is empty")
    return data


def _decode(path: str, data: bytes, digest: bytes, preprocessing: Preprocessing) -> DecodedImage:
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    _check_codec(path, data)
    try:
        opened = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        raise _RefusedError("this is not an image in a supported format") from None
    except Image.DecompressionBombError:
        raise _RefusedError("it has more pixels than are safe to read") from None
    with opened:
        turn = orientation(opened)
        width, height = opened.size
        if preprocessing.draft:
            opened.draft("RGB", (2 * preprocessing.size, 2 * preprocessing.size))
        if opened.width * opened.height > MOST_PIXELS:
            raise _RefusedError(f"it has too many pixels to read ({width}x{height})")
        numbers = _frames(opened, preprocessing.frames)
        squares = []
        for number in numbers:
            if number:
                opened.seek(number)
            squares.append(_square(upright(_rgb(opened, preprocessing), turn), preprocessing))
        if turn in SIDEWAYS:
            width, height = height, width
        return DecodedImage(
            path,
            digest,
            np.stack(squares),
            numbers,
            width,
            height,
            (opened.format or "").lower(),
            capture_time(opened),
        )


def _check_codec(path: str, data: bytes) -> None:
    """Raise _RefusedError, with a hint, for HEIC and AVIF files if no decoder is installed."""
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
    """Whether a HEIC library is installed; if so, register it with Pillow."""
    for name in ("pillow_heif", "pi_heif"):
        with contextlib.suppress(ImportError):
            __import__(name).register_heif_opener()
            return True
    return False


def _frames(opened: Image.Image, wanted: int) -> tuple[int, ...]:
    """The numbers of the frames to use, evenly spaced over the file, including the first."""
    count = getattr(opened, "n_frames", 1) if wanted > 1 else 1
    if opened.format in ("MPO", "TIFF", "ICO", "ICNS", "PSD"):  # pages or layers, not an animation
        count = 1
    taken = min(wanted, count)
    return tuple(number * count // taken for number in range(taken))


def _rgb(opened: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    """The image in 8-bit RGB, composited over the background, from any mode."""
    from PIL import Image

    image: Image.Image = opened
    if image.mode.startswith(("I", "F")):
        return _high_bit_depth(image).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        background = Image.new("RGBA", rgba.size, (*preprocessing.background, 255))
        return Image.alpha_composite(background, rgba).convert("RGB")
    return image.convert("RGB")


def _high_bit_depth(image: Image.Image) -> Image.Image:
    """An image of more than 8 bits per channel as 8-bit grey.

    Integers are scaled from 16 bits, floats from 0..1 or, if they exceed it, from their range.
    """
    import numpy as np
    from PIL import Image

    array = np.asarray(image).astype(np.float64)
    if image.mode.startswith("I"):
        array = array / 257 if array.max(initial=0) > 255 or ";16" in image.mode else array
    else:
        array = np.nan_to_num(array)
        low, high = array.min(initial=0), array.max(initial=1)
        array = (array - low) / (high - low) * 255
    return Image.fromarray(array.round().clip(0, 255).astype(np.uint8))


def _square(image: Image.Image, preprocessing: Preprocessing) -> Array:
    """uint8 `[S, S, 3]`, equal to torchvision's Resize and CenterCrop of a Pillow image."""
    import numpy as np
    from PIL import Image, ImageOps

    side = preprocessing.size
    method = (
        Image.Resampling.BICUBIC if preprocessing.method == "bicubic" else Image.Resampling.BILINEAR
    )
    if preprocessing.fit == "squash":
        image = image.resize((side, side), method)
    elif preprocessing.fit == "pad":
        image = ImageOps.pad(image, (side, side), method, preprocessing.background)
    else:
        image = _crop_long(image)
        width, height = image.size
        short = min(width, height)
        wide, high = (side * width // short, side * height // short)
        if (width, height) != (wide, high):
            image = image.resize((wide, high), method)
        left, top = round((wide - side) / 2), round((high - side) / 2)
        image = image.crop((left, top, left + side, top + side))
    return np.asarray(image)


def _crop_long(image: Image.Image) -> Image.Image:
    """The centre of a very long image: resizing all of it would take too much memory."""
    width, height = image.size
    most = LONG * min(width, height)
    if width > most:
        left = (width - most) // 2
        return image.crop((left, 0, left + most, height))
    if height > most:
        top = (height - most) // 2
        return image.crop((0, top, width, top + most))
    return image


def _message(error: Exception) -> str:
    """A decoder's error message in one line."""
    if isinstance(error, struct.error | SyntaxError | EOFError | IndexError | KeyError):
        return "the file is damaged"
    text = " ".join(str(error).split())[:200]
    return text[:1].lower() + text[1:] if text else f"it cannot be decoded ({type(error).__name__})"
