"""Read image files to tensors or arrays, and convert tensors to 8-bit images."""

from __future__ import annotations

import contextlib
import struct
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixweave.errors import MissingError, RunError
from pixweave.media.exif import orientation, upright

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image
    from torch import Tensor

MOST_PIXELS = 64_000_000
"""Larger images are rejected: a small file can decompress to a very large image."""


def to_uint8(image: Tensor) -> np.ndarray[Any, Any]:
    """The image `[C, H, W]`, 0..1, as an 8-bit array `[H, W, C]`, rounded to the nearest.

    NaN becomes black.
    """
    scaled = (image.detach().float().nan_to_num(0).clamp(0, 1) * 255).round()
    return scaled.byte().permute(1, 2, 0).cpu().numpy()


def read_image(path: str | Path) -> Tensor:
    """The image in a file as `[1, 3, H, W]`, or `[1, 4, H, W]` with alpha, float32, 0..1.

    The EXIF orientation is applied. Raises MissingError if the file does not exist or is not a
    readable image.
    """
    import torch

    path = Path(path)
    # accept slightly damaged files; the size is checked below
    with _refusing(path), warnings.catch_warnings(action="ignore"):
        array = _read(path)
    return torch.from_numpy(array).permute(2, 0, 1)[None].contiguous()


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of the image in a file, read from its header; raises like `read_image`."""
    from PIL import Image

    with _refusing(path), warnings.catch_warnings(action="ignore"), Image.open(path) as opened:
        _check_pixels(opened, path)
        return opened.size


def square_from_file(path: Path, side: int) -> np.ndarray[Any, Any]:
    """The centre square of the image in a file, resized to uint8 `[side, side, 3]`, over white.

    The EXIF orientation is applied; raises like `read_image`.
    """
    import numpy as np
    from PIL import Image

    with _refusing(path), Image.open(path) as opened:
        _check_pixels(opened, path)
        opened.draft("RGB", (2 * side, 2 * side))  # a large JPEG need not be decoded in full
        image = upright(opened, orientation(opened))
        if image.mode.startswith("I"):  # 16 bits
            image = Image.fromarray((np.asarray(image) / 257).clip(0, 255).astype(np.uint8))
        if image.has_transparency_data:
            transparent = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", transparent.size, "white"), transparent)
        return square(image.convert("RGB"), side)


def square(image: Image.Image, side: int) -> np.ndarray[Any, Any]:
    """The centre square of an RGB image as uint8 `[side, side, 3]`; area averaging to shrink."""
    import numpy as np
    from PIL import Image, ImageOps

    shrinks = min(image.size) > side
    method = Image.Resampling.BOX if shrinks else Image.Resampling.BICUBIC
    return np.asarray(ImageOps.fit(image, (side, side), method))


@contextlib.contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Converts errors of Pillow to a MissingError that names the file."""
    from PIL import Image

    try:
        yield
    except FileNotFoundError:
        raise MissingError(f"image '{path}' not found", "does not exist") from None
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
        reason = "is not a readable image"
        raise MissingError(f"cannot read '{path}' as an image: {error}", reason) from None


def _check_pixels(opened: Image.Image, path: Path) -> None:
    if opened.width * opened.height > MOST_PIXELS:
        reason = f"has {opened.width}x{opened.height} pixels, more than the limit of {MOST_PIXELS}"
        raise MissingError(f"'{path}' {reason}", reason)


def _read(path: Path) -> np.ndarray[Any, Any]:
    """The image in a file as float32 `[H, W, 3 or 4]`, 0..1."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as opened:
        _check_pixels(opened, path)
        image = upright(opened, orientation(opened))
        if image.mode.startswith("I"):  # 16 bits
            grey = np.asarray(image, dtype=np.float32)[..., None] / 65535
            return grey.clip(0, 1).repeat(3, axis=2)
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
        return np.asarray(image, dtype=np.float32) / 255


def pictures_of(image: Tensor) -> list[Image.Image]:
    """The images `[B, 3 or 4, H, W]`, 0..1, as Pillow images, RGB or RGBA."""
    return [to_pillow(to_uint8(one)) for one in image]


def opened_picture(picture: Any) -> Image.Image:
    """A Pillow image, or an array `[H, W]` or `[H, W, 3 or 4]`, as a Pillow image.

    Arrays are uint8, or floats in 0..1. RunError if it is neither.
    """
    import numpy as np
    from PIL import Image

    if isinstance(picture, Image.Image):
        return picture
    array = np.asarray(picture)
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))
    if not fits or array.dtype.kind not in "uf" or (array.dtype.kind == "u" and array.itemsize > 1):
        what = f"{array.dtype} {list(array.shape)}" if array.ndim else type(picture).__name__
        raise RunError(
            f"an image must be a path, a Pillow image, or an array [H, W, 3 or 4] of uint8 or of "
            f"floats in 0..1, not {what}"
        )
    if array.dtype.kind == "f":
        array = (np.nan_to_num(array).clip(0, 1) * 255).round().astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(array))


def png_bytes(picture: Image.Image) -> bytes:
    """A Pillow image as the bytes of a PNG file, as notebooks show it."""
    import io

    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def to_pillow(
    array: np.ndarray[Any, Any], palette: np.ndarray[Any, Any] | None = None
) -> Image.Image:
    """A Pillow image of uint8 `[H, W, 3 or 4]`; indexed if all pixels are in `palette` `[K, 3]`."""
    from PIL import Image

    if palette is not None and (image := indexed(array, palette)) is not None:
        return image
    return Image.fromarray(array)


def indexed(array: np.ndarray[Any, Any], palette: np.ndarray[Any, Any]) -> Image.Image | None:
    """The image in palette mode, one byte per pixel; None if a pixel is not in the palette.

    With alpha `[H, W, 4]`, which must be 0 or 255, index K is transparent.
    """
    import numpy as np
    from PIL import Image

    if len(palette) > 256:
        return None
    weights = np.array([65536, 256, 1])
    codes = palette.astype(np.int64) @ weights
    order = np.argsort(codes)
    pixels = array[..., :3].astype(np.int64) @ weights
    place = np.searchsorted(codes[order], pixels).clip(max=len(codes) - 1)
    index = order[place].astype(np.uint8)
    matches = codes[index] == pixels
    colours = palette.astype(np.uint8).tobytes()
    transparent = None
    if array.shape[2] == 4:
        alpha = array[..., 3]
        if len(palette) > 255 or not np.isin(alpha, (0, 255)).all():
            return None
        transparent = len(palette)
        index = np.where(alpha == 0, np.uint8(transparent), index)
        matches |= alpha == 0
        colours += b"\0\0\0"
    if not matches.all():
        return None
    image = Image.frombytes("P", (index.shape[1], index.shape[0]), index.tobytes())
    image.putpalette(colours)
    if transparent is not None:
        image.info["transparency"] = transparent
    return image


def enlarge(array: np.ndarray[Any, Any], scale: int) -> np.ndarray[Any, Any]:
    """The image enlarged by an integer factor: every pixel becomes a `scale` x `scale` square."""
    return array if scale == 1 else array.repeat(scale, 0).repeat(scale, 1)
