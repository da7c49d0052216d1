"""The stamp: the resolved recipe inside every file that pixweave writes, and how to read it back.

PNG and APNG hold it as compressed iTXt, JPEG and WebP as EXIF UserComment, GIF as its comment, SVG
in its element `metadata`, MP4 as container tags.
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
"""Characters of a stamp that are read; more is no recipe."""


def for_png(stamp: Stamp) -> PngInfo:
    """The stamp for Pillow's `pnginfo`."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for key, text in stamp.items():
        info.add_itxt(key, text, zip=True)
    return info


def for_exif(stamp: Stamp) -> Exif:
    """The stamp for Pillow's `exif`."""
    from PIL.Image import Exif

    exif = Exif()
    if stamp:
        text = json.dumps(dict(stamp), ensure_ascii=False)
        if len(text) > 30_000:  # a JPEG segment holds 64 kB, and these are two bytes a character
            packed = zlib.compress(text.encode(), 9)
            text = json.dumps({"zlib": base64.b64encode(packed).decode()})
        if len(text) > 30_000:  # better a picture without its recipe than none
            return exif
        exif.get_ifd(EXIF_IFD)[USER_COMMENT] = b"UNICODE\0" + text.encode("utf-16-be")
    return exif


def for_gif(stamp: Stamp) -> bytes:
    """The stamp for Pillow's GIF `comment`."""
    return json.dumps(dict(stamp)).encode() if stamp else b""


def for_mp4(stamp: Stamp) -> dict[str, str]:
    """The stamp as tags of an MP4 written with `movflags=use_metadata_tags`."""
    return dict(stamp)


def read_metadata(path: Path) -> dict[str, str]:
    """The stamp in a file, empty if it has none; MissingError if it cannot be read at all."""
    if not path.is_file():
        raise MissingError(f"there is no file '{path}'")
    film = path.suffix.lower() in (".mp4", ".m4v", ".mov")
    vector = path.suffix.lower() == ".svg"
    read = _from_video if film else _from_svg if vector else _from_picture
    found = read(path)
    return {k: v for k, v in found.items() if k == KEY and isinstance(v, str) and len(v) <= MOST}


def _from_picture(path: Path) -> dict[str, Any]:
    from PIL import Image

    try:
        # a little damage elsewhere does not matter
        with warnings.catch_warnings(action="ignore"), Image.open(path) as picture:
            text = getattr(picture, "text", None)
            if isinstance(text, dict) and KEY in text:
                return {KEY: str(text[KEY])}
            comment = picture.getexif().get_ifd(EXIF_IFD).get(USER_COMMENT)
            if isinstance(comment, bytes) and comment.startswith(b"UNICODE\0"):
                return _object(comment[8:].decode("utf-16-be", "replace"))
            return _object(picture.info.get("comment", b""))
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError) as error:
        raise MissingError(f"'{path}' cannot be read as a picture: {error}") from None


def _from_svg(path: Path) -> dict[str, Any]:
    with path.open(encoding="utf-8", errors="replace") as file:
        text = file.read(5 * MOST)
    if "<svg" not in text[:1000]:
        raise MissingError(f"'{path}' cannot be read as a picture: there is no <svg in it")
    # by hand: a parser of XML would follow a stranger's entities
    found = re.search(rf'<metadata id="{KEY}">([^<]*)</metadata>', text)
    return {KEY: html.unescape(found[1])} if found else {}


def _from_video(path: Path) -> dict[str, Any]:
    import av

    try:
        with av.open(str(path)) as film:
            return dict(film.metadata)
    except av.error.FFmpegError as error:
        raise MissingError(f"'{path}' cannot be read as a film: {error}") from None


def _object(text: str | bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
        if isinstance(found, dict) and list(found) == ["zlib"]:
            packed = base64.b64decode(found["zlib"])
            found = json.loads(zlib.decompressobj().decompress(packed, 4 * MOST))
    except (ValueError, TypeError, RecursionError, zlib.error):  # anyone may have written it
        return {}
    return found if isinstance(found, dict) else {}
