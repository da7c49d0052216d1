"""Embedded metadata: the resolved recipe in every file that pixweave writes, and how to read it.

PNG and APNG store it as compressed iTXt, JPEG and WebP as EXIF UserComment, GIF as its comment, SVG
in its `metadata` element, MP4 as container tags.
"""

from __future__ import annotations

import base64
import html
import json
import re
import struct
import warnings
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixweave.errors import MissingError

if TYPE_CHECKING:
    from PIL.Image import Exif
    from PIL.PngImagePlugin import PngInfo

Stamp = Mapping[str, str]
KEY = "pixweave"
USER_COMMENT = 0x9286
EXIF_IFD = 0x8769
MOST = 4_000_000
"""Longest metadata text that is read, in characters; longer texts are ignored."""


def for_png(metadata: Stamp) -> PngInfo:
    """The metadata for Pillow's `pnginfo`."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for key, text in metadata.items():
        info.add_itxt(key, text, zip=True)
    return info


def for_exif(metadata: Stamp) -> Exif:
    """The metadata for Pillow's `exif`; empty if it does not fit."""
    from PIL.Image import Exif

    exif = Exif()
    if metadata:
        text = json.dumps(dict(metadata), ensure_ascii=False)
        if len(text) > 30_000:  # a JPEG segment holds 64 kB, at two bytes per character
            packed = zlib.compress(text.encode(), 9)
            text = json.dumps({"zlib": base64.b64encode(packed).decode()})
        if len(text) > 30_000:  # too long even compressed: leave the recipe out
            return exif
        exif.get_ifd(EXIF_IFD)[USER_COMMENT] = b"UNICODE\0" + text.encode("utf-16-be")
    return exif


def for_gif(metadata: Stamp) -> bytes:
    """The metadata for Pillow's GIF `comment`."""
    return json.dumps(dict(metadata)).encode() if metadata else b""


def for_mp4(metadata: Stamp) -> dict[str, str]:
    """The metadata as tags of an MP4 written with `movflags=use_metadata_tags`."""
    return dict(metadata)


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata embedded in a file, empty if there is none.

    Raises MissingError if the file does not exist or cannot be read.
    """
    if not path.is_file():
        raise MissingError(f"file '{path}' not found")
    is_video = path.suffix.lower() in (".mp4", ".m4v", ".mov")
    is_svg = path.suffix.lower() == ".svg"
    read = _from_video if is_video else _from_svg if is_svg else _from_image
    values = read(path)
    return {k: v for k, v in values.items() if k == KEY and isinstance(v, str) and len(v) <= MOST}


def _from_image(path: Path) -> dict[str, Any]:
    from PIL import Image

    try:
        # accept files that are damaged elsewhere
        with warnings.catch_warnings(action="ignore"), Image.open(path) as image:
            text = getattr(image, "text", None)
            if isinstance(text, dict) and KEY in text:
                return {KEY: str(text[KEY])}
            comment = image.getexif().get_ifd(EXIF_IFD).get(USER_COMMENT)
            if isinstance(comment, bytes) and comment.startswith(b"UNICODE\0"):
                return _object(comment[8:].decode("utf-16-be", "replace"))
            return _object(image.info.get("comment", b""))
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
        raise MissingError(f"cannot read '{path}' as an image: {error}") from None


def _from_svg(path: Path) -> dict[str, Any]:
    with path.open(encoding="utf-8", errors="replace") as file:
        text = file.read(5 * MOST)
    if "<svg" not in text[:1000]:
        raise MissingError(f"cannot read '{path}' as an image: it has no <svg element")
    # no XML parser: it would expand entities of untrusted files
    match = re.search(rf'<metadata id="{KEY}">([^<]*)</metadata>', text)
    return {KEY: html.unescape(match[1])} if match else {}


def _from_video(path: Path) -> dict[str, Any]:
    import av

    try:
        with av.open(str(path)) as video:
            return dict(video.metadata)
    except av.error.FFmpegError as error:
        raise MissingError(f"cannot read '{path}' as a video: {error}") from None


def _object(text: str | bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
        if isinstance(value, dict) and list(value) == ["zlib"]:
            packed = base64.b64decode(value["zlib"])
            value = json.loads(zlib.decompressobj().decompress(packed, 4 * MOST))
    except (ValueError, TypeError, RecursionError, zlib.error):  # the text is untrusted
        return {}
    return value if isinstance(value, dict) else {}
