"""Helpers of the animated formats: which part of each frame changed, and PNG and RIFF chunks."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
Shots = Iterable[tuple[Array, float]]
"""Frames `[H, W, 3 or 4]` of uint8, all of one size, and the duration of each in seconds."""


class Change(NamedTuple):
    """Changed pixels, their position in the frame, and start and end of the change in seconds."""

    pixels: Array
    left: int
    top: int
    start: float
    end: float


def changes(shots: Shots, whole: bool = False, grid: int = 1) -> Iterator[Change]:
    """Yield each frame that differs from the one before, cropped to the pixels that differ.

    A frame equal to the one before extends the duration of that one. `whole` yields full frames;
    the left and top edges are multiples of `grid`.
    """
    before: Array | None = None
    change: Change | None = None
    now = 0.0
    for picture, seconds in shots:
        left = top = 0
        right, bottom = picture.shape[1], picture.shape[0]
        if before is not None and change is not None:
            differs = (picture != before).any(axis=2)
            if not differs.any():
                now += seconds
                change = change._replace(end=now)
                continue
            yield change
            if not whole:
                rows, columns = differs.any(axis=1).nonzero()[0], differs.any(axis=0).nonzero()[0]
                left, right = int(columns[0]) // grid * grid, int(columns[-1]) + 1
                top, bottom = int(rows[0]) // grid * grid, int(rows[-1]) + 1
        change = Change(picture[top:bottom, left:right], left, top, now, now + seconds)
        now += seconds
        before = picture
    if change is not None:
        yield change


def png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each chunk of a PNG file."""
    place = 8
    while place < len(data):
        (length,) = struct.unpack_from(">I", data, place)
        yield data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        place += 12 + length


def png_chunk(name: bytes, content: bytes) -> bytes:
    """A chunk as bytes of a PNG file."""
    check = zlib.crc32(content, zlib.crc32(name))
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)


def riff_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each chunk of a WebP file."""
    place = 12
    while place < len(data):
        (length,) = struct.unpack_from("<I", data, place + 4)
        yield data[place : place + 4], data[place + 8 : place + 8 + length]
        place += 8 + length + length % 2


def riff_chunk(name: bytes, content: bytes) -> bytes:
    """A chunk as bytes of a WebP file, padded to an even length."""
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
