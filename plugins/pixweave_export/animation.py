"""GIF, APNG and animated WebP, written frame by frame.

Pillow encodes each frame; the container is written here, because Pillow's own writers keep every
frame in memory until the last. Formats: GIF89a; PNG 3rd edition (W3C 2025), animation chunks; the
WebP container specification.
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

Metadata = Mapping[str, str]


def write_gif(
    path: Path, shots: Shots, palette: Array | None, repeat: int, alpha: bool, info: Metadata
) -> None:
    """Write a GIF; a frame with colours outside `palette` gets its own palette of up to 256.

    Pixels are opaque or transparent: alpha is thresholded at one half. Frame times are whole
    hundredths of a second, at least two; rounding errors are carried over to the next frame.
    """
    shared: bytes | None = None
    spent = 0
    with path.open("wb") as file:
        # the previous frame must not show through transparent pixels: clear it and redraw all
        for change in changes(shots, whole=alpha):
            picture = gif_image(change.pixels, palette)
            assert picture.palette is not None
            if shared is None:
                shared = bytes(picture.palette.palette)
                _gif_header(file, picture, repeat, metadata.for_gif(info))
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


def gif_image(pixels: Array, palette: Array | None) -> Image.Image:
    """An indexed image: in `palette` if it fits, else with its own colours, at most 256.

    More colours than that are quantised.
    """
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
    if repeat != 1:  # the field counts the repetitions after the first play; 0 is for ever
        again = repeat - 1 if repeat else 0
        file.write(b"!\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<HB", again, 0))
    if comment:
        file.write(b"!\xfe")
        for place in range(0, len(comment), 255):
            block = comment[place : place + 255]
            file.write(bytes([len(block)]) + block)
        file.write(b"\0")


def write_apng(
    path: Path, shots: Shots, palette: Array | None, repeat: int, info: Metadata
) -> None:
    """Write an animated PNG, lossless; `palette`, if given, must contain every colour used."""
    with path.open("wb") as file:
        serial = count = 0  # animation chunks and frames written so far
        for change in changes(shots):
            chunks = list(png_chunks(_png(change.pixels, palette, None if count else info)))
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


def _png(pixels: Array, palette: Array | None, info: Metadata | None) -> bytes:
    data = io.BytesIO()
    pnginfo = None if info is None else metadata.for_png(info)
    images.to_pillow(pixels, palette).save(data, "PNG", pnginfo=pnginfo)
    return data.getvalue()


def _frame_control(change: Change) -> bytes:
    """Size, position and duration of a frame, and that its pixels replace the previous ones."""
    seconds = min(change.end - change.start, 65535)
    delay = Fraction(seconds).limit_denominator(int(65535 / max(seconds, 1)))
    height, width = change.pixels.shape[:2]
    place = struct.pack(">IIII", width, height, change.left, change.top)
    return place + struct.pack(">HHBB", delay.numerator, delay.denominator, 0, 0)


def write_webp(
    path: Path, shots: Shots, repeat: int, lossless: bool, quality: int, info: Metadata
) -> None:
    """Write an animated WebP; frame times are whole milliseconds that do not drift."""
    exif = metadata.for_exif(info).tobytes().removeprefix(b"Exif\0\0") if info else b""
    with path.open("wb") as file:
        file.write(b"RIFF\0\0\0\0WEBP")
        head = b""
        for change in changes(shots, grid=2):
            height, width, channels = change.pixels.shape
            if not head:
                flags = 0x02 | (0x08 if exif else 0) | (0x10 if channels == 4 else 0)
                head = struct.pack("<I", flags) + _uint24(width - 1) + _uint24(height - 1)
                file.write(riff_chunk(b"VP8X", head))
                file.write(riff_chunk(b"ANIM", struct.pack("<IH", 0, repeat)))
            data = io.BytesIO()
            Image.fromarray(np.ascontiguousarray(change.pixels)).save(
                data, "WEBP", lossless=lossless, quality=quality, method=4, exact=lossless
            )
            time = round(1000 * change.end) - round(1000 * change.start)
            box = (change.left // 2, change.top // 2, width - 1, height - 1)
            place = b"".join(_uint24(number) for number in box)
            bits = b"".join(
                riff_chunk(name, content)
                for name, content in riff_chunks(data.getvalue())
                if name in (b"ALPH", b"VP8 ", b"VP8L")
            )
            # 2: the pixels, including alpha, replace the previous ones
            file.write(riff_chunk(b"ANMF", place + _uint24(min(time, 0xFFFFFF)) + b"\x02" + bits))
        if exif:
            file.write(riff_chunk(b"EXIF", exif))
        size = file.tell() - 8
        file.seek(4)
        file.write(struct.pack("<I", size))


def _uint24(number: int) -> bytes:
    return number.to_bytes(3, "little")
