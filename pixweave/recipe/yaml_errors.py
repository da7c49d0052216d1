"""Readable messages for the syntax errors of PyYAML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import yaml

from pixweave.errors import Issue, Mark

_BARE_COLOUR = re.compile(r"[\[,]\s*(#[0-9a-fA-F]{6})\b")


def explain_syntax(error: yaml.YAMLError, lines: Sequence[str], source: str) -> Issue:
    """The issue for a YAML error, with its location and a hint."""
    at, context = getattr(error, "problem_mark", None), getattr(error, "context_mark", None)
    problem = str(getattr(error, "problem", None) or error)
    context_text = str(getattr(error, "context", None) or "")
    here, message, hint = _explain(problem, context_text, at, context, lines)
    where = Mark(source, here.line + 1, here.column + 1) if here else Mark(source, 1, 1)
    return Issue.at(where, message, hint)


def _explain(
    problem: str, context_text: str, at: Any, context: Any, lines: Sequence[str]
) -> tuple[Any, str, str]:
    line = lines[at.line] if at and at.line < len(lines) else ""
    if at and (
        "\t" in line[: len(line) - len(line.lstrip())] or line[at.column : at.column + 1] == "\t"
    ):
        return at, "YAML does not allow a tab here", "replace it with spaces"
    if "flow" in context_text and (bare := _bare_colour(lines[: at.line + 1])):
        place, colour = bare
        return (
            place,
            f"'{colour}' starts a comment, so the rest of the line is ignored",
            f'put colours in quotes: "{colour}"',
        )
    if "expected node content" in problem:
        return at, "a value is missing here, or a ']' or '}' before it", "add it"
    if "flow sequence" in context_text:
        return context, "this list has no closing ']', or a ',' is missing in it", "add it"
    if "flow mapping" in context_text:
        return context, "this mapping has no closing '}', or a ',' is missing in it", "add it"
    if "quoted scalar" in context_text:
        return context, "this quote is not closed", "add the closing quote"
    if "cannot start any token" in problem:
        return (
            at,
            f"a value cannot start with '{line[at.column : at.column + 1]}'",
            "put it in quotes",
        )
    if "mapping values are not allowed" in problem:
        return (
            at,
            "a ':' is not allowed here",
            ("put a text that contains ': ' in quotes, or check the indentation"),
        )
    if "could not find expected ':'" in problem:
        return context or at, "a ':' is missing after this key", "write 'key: value'"
    if "block sequence entries are not allowed" in problem:
        return at, "a list cannot start on this line", "put each '- item' on a separate line"
    if "expected key" in problem or "expected '-'" in problem or "block end" in problem:
        return at, "this does not match the lines above", "check the indentation and the quotes"
    return (
        at or context,
        f"this is not valid YAML ({problem})",
        "check the indentation and the quotes",
    )


def _bare_colour(lines: Sequence[str]) -> tuple[Any, str] | None:
    """The last unquoted colour in a list, and its location; None if there is none."""
    for number in range(len(lines) - 1, -1, -1):
        if match := _BARE_COLOUR.search(lines[number]):
            return yaml.Mark("", 0, number, match.start(1), None, 0), match[1]
    return None
