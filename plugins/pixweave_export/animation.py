"""GIF, APNG and animated WebP, written frame by frame.

Pillow encodes each picture; the container around them is written here, because Pillow's own writers
keep every frame in memory until the last. Formats: GIF89a; PNG 3rd edition (W3C 2025), animation
chunks; the WebP container specification.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import IO

import numpy as np
from PIL import GifImagePlugin, Image

from pixweave.media import images, metadata
from pixweave_export.frame_diff import (
    Array,
    Change,
    Shots,
    changes,
    png_chunk,
    png_chunks,
    riff_chunk,
    riff_chunks,
)

Stamp = Mapping[str, str]


def write_gif(
    path: Path, shots: Shots, palette: Array | None, repeat: int, alpha: bool, stamp: Stamp
) -> None:
    """Write a GIF; frames with colours outside `palette` get up to 256 of their own.

    A pixel is there or not: alpha is cut at a half. Times are whole hundredths of a second, at
    least two; what rounding takes from one frame it gives to the next.
    """
    shared: bytes | None = None
    spent = 0
    with path.open("wb") as file:
        # a frame with holes must not show the one before through them: clear it, redraw all
        for change in changes(shots, whole=alpha):
            picture = gif_picture(change.pixels, palette)
            assert picture.palette is not None
            if shared is None:
                shared = bytes(picture.palette.palette)
                _gif_header(file, picture, repeat, metadata.for_gif(stamp))
            delay = max(2, round(100 * change.end) - spent)
            spent += delay
            own = bytes(picture.palette.palette) != shared
            options = {"duration": 10 * min(delay, 65535), "disposal": 2 if alpha else 1}
            if own:
                options["include_color_table"] = True
            if "transparency" in picture.info:
                options["transparency"] = picture.info["transparency"]
            data = GifImagePlugin.getdata(picture, (change.left, change.top), **options)
            file.write(b"".join(data))
        file.write(b";")


def gif_picture(pixels: Array, palette: Array | None) -> Image.Image:
    """An indexed picture: in the palette, else exact if it has few colours, else the best 256."""
    if palette is not None and (picture := images.indexed(pixels, palette)) is not None:
        return picture
    if pixels.shape[2] == 3:
        opaque = Image.fromarray(pixels)
        few = opaque.getcolors(256)
        if few is not None:
            exact = images.indexed(pixels, np.array([rgb for _, rgb in few], dtype=np.uint8))
            assert exact is not None
            return exact
        return opaque.quantize(256, Image.Quantize.MAXCOVERAGE)
    there = pixels[..., 3:] >= 128
    solid = Image.fromarray(np.where(there, pixels[..., :3], 0).astype(np.uint8))
    if solid.getcolors(255) is None:
        solid = solid.quantize(255, Image.Quantize.MAXCOVERAGE).convert("RGB")
    colours = np.array([rgb for _, rgb in solid.getcolors(255) or []], dtype=np.uint8)
    cut = np.concatenate([np.asarray(solid), np.where(there, 255, 0)], axis=2).astype(np.uint8)
    exact = images.indexed(cut, colours)
    assert exact is not None
    return exact


def _gif_header(file: IO[bytes], picture: Image.Image, repeat: int, comment: bytes) -> None:
    assert picture.palette is not None
    table = bytes(picture.palette.palette)
    bits = max(1, (len(table) // 3 - 1).bit_length())
    file.write(b"GIF89a" + struct.pack("<HHBBB", *picture.size, 0x80 | 0x70 | (bits - 1), 0, 0))
    file.write(table.ljust(3 << bits, b"\0"))
    if repeat != 1:  # the number counts the times after the first; 0 is for ever
        again = repeat - 1 if repeat else 0
        file.write(b"!\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<HB", again, 0))
    if comment:
        file.write(b"!\xfe")
        for place in range(0, len(comment), 255):
            block = comment[place : place + 255]
            file.write(bytes([len(block)]) + block)
        file.write(b"\0")


def write_apng(path: Path, shots: Shots, palette: Array | None, repeat: int, stamp: Stamp) -> None:
    """Write an animated PNG, lossless; `palette`, if given, must hold every pixel there is."""
    with path.open("wb") as file:
        serial = count = 0  # of the animation's chunks, and of its frames
        for change in changes(shots):
            chunks = list(png_chunks(_png(change.pixels, palette, None if count else stamp)))
            if not count:
                file.write(b"\x89PNG\r\n\x1a\n")
                for name, content in chunks:
                    if name not in (b"IDAT", b"IEND"):
                        file.write(png_chunk(name, content))
                head = file.tell()
                file.write(png_chunk(b"acTL", struct.pack(">II", 0, repeat)))
            file.write(png_chunk(b"fcTL", struct.pack(">I", serial) + _frame_control(change)))
            serial += 1
            for content in (content for name, content in chunks if name == b"IDAT"):
                if count:
                    file.write(png_chunk(b"fdAT", struct.pack(">I", serial) + content))
                    serial += 1
                else:
                    file.write(png_chunk(b"IDAT", content))
            count += 1
        file.write(png_chunk(b"IEND", b""))
        file.seek(head)  # the number of frames is known only now
        file.write(png_chunk(b"acTL", struct.pack(">II", count, repeat)))


def _png(pixels: Array, palette: Array | None, stamp: Stamp | None) -> bytes:
    data = io.BytesIO()
    info = None if stamp is None else metadata.for_png(stamp)
    images.to_pillow(pixels, palette).save(data, "PNG", pnginfo=info)
    return data.getvalue()


def _frame_control(change: Change) -> bytes:
    """Size, place, time, and that the pixels replace what was there."""
    seconds = min(change.end - change.start, 65535)
    delay = Fraction(seconds).limit_denominator(int(65535 / max(seconds, 1)))
    height, width = change.pixels.shape[:2]
    place = struct.pack(">IIII", width, height, change.left, change.top)
    return place + struct.pack(">HHBB", delay.numerator, delay.denominator, 0, 0)


def write_webp(
    path: Path, shots: Shots, repeat: int, lossless: bool, quality: int, stamp: Stamp
) -> None:
    """Write an animated WebP; times are whole milliseconds that do not drift."""
    exif = metadata.for_exif(stamp).tobytes().removeprefix(b"Exif\0\0") if stamp else b""
    with path.open("wb") as file:
        file.write(b"RIFF\0\0\0\0WEBP")
        head = b""
        for change in changes(shots, grid=2):
            height, width, channels = change.pixels.shape
            if not head:
                flags = 0x02 | (0x08 if exif else 0) | (0x10 if channels == 4 else 0)
                head = struct.pack("<I", flags) + _three(width - 1) + _three(height - 1)
                file.write(riff_chunk(b"VP8X", head))
                file.write(riff_chunk(b"ANIM", struct.pack("<IH", 0, repeat)))
            data = io.BytesIO()
            Image.fromarray(np.ascontiguousarray(change.pixels)).save(
                data, "WEBP", lossless=lossless, quality=quality, method=4, exact=lossless
            )
            time = round(1000 * change.end) - round(1000 * change.start)
            box = (change.left // 2, change.top // 2, width - 1, height - 1)
            place = b"".join(_three(number) for number in box)
            bits = b"".join(
                riff_chunk(name, content)
                for name, content in riff_chunks(data.getvalue())
                if name in (b"ALPH", b"VP8 ", b"VP8L")
            )
            # 2: the pixels replace what was there, alpha and all
            file.write(riff_chunk(b"ANMF", place + _three(min(time, 0xFFFFFF)) + b"\x02" + bits))
        if exif:
            file.write(riff_chunk(b"EXIF", exif))
        size = file.tell() - 8
        file.seek(4)
        file.write(struct.pack("<I", size))


def _three(number: int) -> bytes:
    return number.to_bytes(3, "little")
