"""EXIF: which way up a photograph is, and when it was taken."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

SIDEWAYS = frozenset({5, 6, 7, 8})
"""Orientations in which width and height change places."""


def orientation(opened: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where it is absent or broken."""
    try:
        value = opened.getexif().get(0x0112, 1)
    except Exception:  # broken EXIF is no reason to lose the picture
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(picture: Image.Image, turn: int) -> Image.Image:
    """The picture turned as its orientation, 1 to 8, says."""
    from PIL.Image import Transpose

    if turn == 1:
        return picture
    ways = (
        *(Transpose.FLIP_LEFT_RIGHT, Transpose.ROTATE_180, Transpose.FLIP_TOP_BOTTOM),
        *(Transpose.TRANSPOSE, Transpose.ROTATE_270, Transpose.TRANSVERSE, Transpose.ROTATE_90),
    )
    return picture.transpose(ways[turn - 2])


def capture_time(opened: Image.Image) -> float | None:
    """When the camera took it, in seconds of local time; None if it does not say."""
    try:
        exif = opened.getexif()
        text = exif.get_ifd(0x8769).get(0x9003) or exif.get(0x0132)
        return datetime.strptime(str(text).strip("\0 "), "%Y:%m:%d %H:%M:%S").timestamp()
    except Exception:  # broken EXIF, or a clock that was never set
        return None
