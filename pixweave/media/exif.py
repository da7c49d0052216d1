"""EXIF: the orientation of a photograph, and when it was taken."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

SIDEWAYS = frozenset({5, 6, 7, 8})
"""Orientations that swap width and height."""


def orientation(opened: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 if it is missing or corrupt."""
    try:
        value = opened.getexif().get(0x0112, 1)
    except Exception:  # corrupt EXIF must not make the image unusable
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """The image rotated and flipped according to its EXIF orientation, 1 to 8."""
    from PIL.Image import Transpose

    if orientation == 1:
        return image
    methods = (
        *(Transpose.FLIP_LEFT_RIGHT, Transpose.ROTATE_180, Transpose.FLIP_TOP_BOTTOM),
        *(Transpose.TRANSPOSE, Transpose.ROTATE_270, Transpose.TRANSVERSE, Transpose.ROTATE_90),
    )
    return image.transpose(methods[orientation - 2])


def capture_time(opened: Image.Image) -> float | None:
    """The capture time as a POSIX timestamp, read as local time; None if it is unknown."""
    try:
        exif = opened.getexif()
        text = exif.get_ifd(0x8769).get(0x9003) or exif.get(0x0132)
        return datetime.strptime(str(text).strip("\0 "), "%Y:%m:%d %H:%M:%S").timestamp()
    except Exception:  # corrupt EXIF, or a camera clock that was never set
        return None
