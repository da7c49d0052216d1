"""What the animated formats share: the part of the picture that changed, and when it shows."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, Any]
Shots = Iterable[tuple[Array, float]]
"""Pictures `[H, W, 3 or 4]` of bytes, all of one size, and the seconds that each stays."""


class Change(NamedTuple):
    """The pixels that are new, where they belong, and from when to when they show, in seconds."""

    pixels: Array
    left: int
    top: int
    start: float
    end: float


def changes(shots: Shots, whole: bool = False, grid: int = 1) -> Iterator[Change]:
    """Each picture that differs from the one before, cut down to what differs.

    A picture that stays the same makes the one before it last longer. `whole` gives full pictures;
    `grid` is the step of the left and top edges.
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
    """A chunk as it stands in a PNG file."""
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
    """A chunk as it stands in a WebP file, padded to an even length."""
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
