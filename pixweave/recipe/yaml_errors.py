"""What PyYAML's syntax errors mean, in the words of someone who writes recipes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from pixweave.errors import Issue, Mark

_BARE_COLOUR = re.compile(r"[\[,]\s*(#[0-9a-fA-F]{6})\b")


def explain_syntax(error: yaml.YAMLError, lines: Sequence[str], source: str) -> Issue:
    """The issue that a YAML error is, at its place, with a remedy."""
    at, context = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    said = str(getattr(error, "problem", None) or error)
    about = str(getattr(error, "context", None) or "")
    here, message, hint = _explain(said, about, at, context, lines)
    where = Mark(source, here.line + 1, here.column + 1) if here else Mark(source, 1, 1)
    return Issue.at(where, message, hint)


def _explain(
    said: str, about: str, at: Any, context: Any, lines: Sequence[str]
) -> tuple[Any, str, str]:
    line = lines[at.line] if at and at.line < len(lines) else ""
    if at and (
        "\t" in line[: len(line) - len(line.lstrip())] or line[at.column : at.column + 1] == "\t"
    ):
        return at, "a tab stands where YAML wants spaces", "replace it by spaces"
    if "flow" in about and (bare := _bare_colour(lines[: at.line + 1])):
        place, colour = bare
        return (
            place,
            f"'{colour}' begins a comment, so the rest of the line is lost",
            f'put colours in quotes: "{colour}"',
        )
    if "expected node content" in said:
        return at, "a value is missing here, or a ']' or '}' before it", "add it"
    if "flow sequence" in about:
        return context, "this list has no ']' at its end, or a ',' is missing in it", "add it"
    if "flow mapping" in about:
        return context, "this mapping has no '}' at its end, or a ',' is missing in it", "add it"
    if "quoted scalar" in about:
        return context, "the quote that opens here is not closed", "close it"
    if "cannot start any token" in said:
        return (
            at,
            f"a value cannot begin with '{line[at.column : at.column + 1]}'",
            "put it in quotes",
        )
    if "mapping values are not allowed" in said:
        return (
            at,
            "a ':' is not allowed here",
            ("put a text that contains ': ' in quotes, or check the indentation"),
        )
    if "could not find expected ':'" in said:
        return context or at, "a ':' is missing after this name", "write 'name: value'"
    if "block sequence entries are not allowed" in said:
        return at, "a list cannot begin on this line", "put each '- item' on a line of its own"
    if "expected key" in said or "expected '-'" in said or "block end" in said:
        return at, "this does not fit what stands above it", "check the indentation and the quotes"
    return at or context, f"this is not YAML ({said})", "check the indentation and the quotes"


def _bare_colour(lines: Sequence[str]) -> tuple[Any, str] | None:
    """The last colour that was written without quotes in a list, and its place."""
    for number in range(len(lines) - 1, -1, -1):
        if match := _BARE_COLOUR.search(lines[number]):
            return yaml.Mark("", 0, number, match.start(1), None, 0), match[1]
    return None
