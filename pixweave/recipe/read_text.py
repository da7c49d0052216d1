"""Decode the bytes of a recipe to text; errors have a line and a column."""

from __future__ import annotations

import re
from pathlib import Path

from pixweave.errors import Issue, Mark, RecipeError

LARGEST = 1_000_000

_CONTROL = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_BOMS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\0\0", "utf-32"),
    (b"\0\0\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)


def read_text(path: Path, source: str) -> str:
    """The text of a recipe file; raises RecipeError if it is too large or not text."""
    try:
        size = path.stat().st_size
        if size <= LARGEST:
            with path.open("rb") as file:
                return decode(file.read(LARGEST + 1), source)
    except IsADirectoryError:
        raise RecipeError(
            Issue.at(Mark(source), "is a folder", "give the path of a recipe in it")
        ) from None
    except OSError as error:
        raise RecipeError(Issue.at(Mark(source), f"cannot be read: {error.strerror}")) from None
    raise RecipeError(_too_large(source, size))


def decode(data: bytes, source: str) -> str:
    """Decode a recipe: UTF-8, or UTF-16/32 with a byte order mark; raises RecipeError."""
    if len(data) > LARGEST:
        raise RecipeError(_too_large(source, len(data)))
    encoding = next((name for bom, name in _BOMS if data.startswith(bom)), "utf-8")
    try:
        text = data.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(encoding, errors="replace")
        byte = f"0x{data[error.start]:02x}"
        raise RecipeError(
            Issue.at(
                _location(source, before.lstrip("\ufeff")),
                f"byte {byte} is not valid {encoding.upper()}",
                "save the file as UTF-8",
            )
        ) from None
    return text


def _location(source: str, before: str) -> Mark:
    return Mark(source, before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1)


def _too_large(source: str, size: int) -> Issue:
    return Issue.at(
        Mark(source, 1, 1),
        f"the file has {'over ' if size == LARGEST + 1 else ''}"
        f"{size / 1e6:.3g} MB; the limit for recipes is 1 MB",
        "check that it is a recipe",
    )


def refuse_control(text: str, source: str) -> None:
    """Raise RecipeError if the text contains a control character."""
    if bad := _CONTROL.search(text):
        raise RecipeError(
            Issue.at(
                _location(source, text[: bad.start()]),
                f"the character U+{ord(bad[0]):04X} is not allowed",
                "remove it",
            )
        )
