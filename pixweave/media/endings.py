"""Patterns of JSON Schema for file names, in which upper and lower case are the same."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any


def any_case(text: str) -> str:
    """A regular expression that matches the text in upper and lower case.

    >>> any_case(".gif")
    '\\\\.[gG][iI][fF]'
    """
    return "".join(f"[{c}{c.upper()}]" if c.isalpha() else re.escape(c) for c in text.lower())


def ends_in(endings: Iterable[str]) -> str:
    """The pattern of file names with one of these endings, such as `.png`; `/` is a folder."""
    return f"({'|'.join(any_case(ending) for ending in endings)})$"


def file_schema(endings: Iterable[str], start: str = "") -> dict[str, Any]:
    """The JSON schema of file names with one of these endings; `start` is a pattern before them."""
    names = list(endings)
    return {
        "type": "string",
        "pattern": start + ends_in(names),
        "patternErrorMessage": f"must be a file name that ends in {', '.join(names)}",
    }
