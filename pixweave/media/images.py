"""Pictures in and out: the one place that converts to and from 8 bits, and whole files."""

from __future__ import annotations

import contextlib
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixweave.errors import MissingError
from pixweave.media.exif import orientation, upright

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image
    from torch import Tensor

MOST_PIXELS = 64_000_000
"""Larger picture files are refused: a small file can unpack to a great deal of memory."""


def to_uint8(image: Tensor) -> np.ndarray[Any, Any]:
    """The picture `[C, H, W]`, 0..1, as an 8-bit array `[H, W, C]`, rounded to the nearest.

    What is not a number becomes black.
    """
    scaled = (image.detach().float().nan_to_num(0).clamp(0, 1) * 255).round()
    return scaled.byte().permute(1, 2, 0).cpu().numpy()


def from_file(path: Path) -> Tensor:
    """The picture in a file as `[1, 3, H, W]`, or `[1, 4, H, W]` with alpha, float32, 0..1.

    Turned as its EXIF orientation says. Raises MissingError if it is not there or no picture.
    """
    import torch

    # a little damage is no reason to stop, and the size we judge ourselves
    with _refusing(path), warnings.catch_warnings(action="ignore"):
        array = _read(path)
    return torch.from_numpy(array).permute(2, 0, 1)[None].contiguous()


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of the picture in a file, from its head alone; raises as `from_file`."""
    from PIL import Image

    with _refusing(path), warnings.catch_warnings(action="ignore"), Image.open(path) as opened:
        _check_pixels(opened, path)
        return opened.size


def square_from_file(path: Path, side: int) -> np.ndarray[Any, Any]:
    """The middle square of the picture in a file, reduced to uint8 `[side, side, 3]`, over white.

    Read as `from_file` reads; raises MissingError alike.
    """
    import numpy as np
    from PIL import Image

    with _refusing(path), Image.open(path) as opened:
        _check_pixels(opened, path)
        opened.draft("RGB", (2 * side, 2 * side))  # a large JPEG need not be decoded in full
        picture = upright(opened, orientation(opened))
        if picture.mode.startswith("I"):  # 16 bits
            picture = Image.fromarray((np.asarray(picture) / 257).clip(0, 255).astype(np.uint8))
        if picture.has_transparency_data:
            clear = picture.convert("RGBA")
            picture = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
        return square(picture.convert("RGB"), side)


def square(picture: Image.Image, side: int) -> np.ndarray[Any, Any]:
    """The middle square of an RGB picture as uint8 `[side, side, 3]`, by area when it shrinks."""
    import numpy as np
    from PIL import Image, ImageOps

    shrinks = min(picture.size) > side
    method = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
    return np.asarray(ImageOps.fit(picture, (side, side), method))


@contextlib.contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turns what Pillow raises into a MissingError that names the file."""
    from PIL import Image

    try:
        yield
    except FileNotFoundError:
        raise MissingError(f"there is no picture '{path}'", "is not there") from None
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
        reason = "is not a picture that can be read"
        raise MissingError(f"'{path}' cannot be read as a picture: {error}", reason) from None


def _check_pixels(opened: Image.Image, path: Path) -> None:
    if opened.width * opened.height > MOST_PIXELS:
        reason = f"has {opened.width}x{opened.height} pixels, too many to read"
        raise MissingError(f"'{path}' {reason}", reason)


def _read(path: Path) -> np.ndarray[Any, Any]:
    """The picture in a file as float32 `[H, W, 3 or 4]`, 0..1."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as opened:
        _check_pixels(opened, path)
        picture = upright(opened, orientation(opened))
        if picture.mode.startswith("I"):  # 16 bits
            grey = np.asarray(picture, dtype=np.float32)[..., None] / 65535
            return grey.clip(0, 1).repeat(3, axis=2)
        picture = picture.convert("RGBA" if picture.has_transparency_data else "RGB")
        return np.asarray(picture, dtype=np.float32) / 255


def to_pillow(
    array: np.ndarray[Any, Any], palette: np.ndarray[Any, Any] | None = None
) -> Image.Image:
    """A Pillow picture of `[H, W, 3 or 4]` bytes; indexed if all of it is in `palette` `[K, 3]`."""
    from PIL import Image

    if palette is not None and (small := indexed(array, palette)) is not None:
        return small
    return Image.fromarray(array)


def indexed(array: np.ndarray[Any, Any], palette: np.ndarray[Any, Any]) -> Image.Image | None:
    """The same picture with one byte a pixel, or None when a pixel is not in the palette.

    With alpha `[H, W, 4]`, which must then be 0 or 255, index K is the transparent one.
    """
    import numpy as np
    from PIL import Image

    if len(palette) > 256:
        return None
    weights = np.array([65536, 256, 1])
    codes = palette.astype(np.int64) @ weights
    order = np.argsort(codes)
    found = array[..., :3].astype(np.int64) @ weights
    place = np.searchsorted(codes[order], found).clip(max=len(codes) - 1)
    index = order[place].astype(np.uint8)
    matches = codes[index] == found
    colours = palette.astype(np.uint8).tobytes()
    clear = None
    if array.shape[2] == 4:
        alpha = array[..., 3]
        if len(palette) > 255 or not np.isin(alpha, (0, 255)).all():
            return None
        clear = len(palette)
        index = np.where(alpha == 0, np.uint8(clear), index)
        matches |= alpha == 0
        colours += b"\0\0\0"
    if not matches.all():
        return None
    picture = Image.frombytes("P", (index.shape[1], index.shape[0]), index.tobytes())
    picture.putpalette(colours)
    if clear is not None:
        picture.info["transparency"] = clear
    return picture


def enlarge(array: np.ndarray[Any, Any], scale: int) -> np.ndarray[Any, Any]:
    """Every pixel as a crisp square of `scale` x `scale`."""
    return array if scale == 1 else array.repeat(scale, 0).repeat(scale, 1)
