"""YAML text to values that know where they were written.

Scalars mean what YAML 1.2 says: `16:9`, `on`, `0123` and dates are texts, `1e-3` is a number.
Refused, each with its place: duplicate keys, tags, merge keys, several documents, numbers that are
not finite, text nested or repeated by aliases beyond measure.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from pixweave.errors import Issue, Mark, RecipeError
from pixweave.recipe.read_text import refuse_control
from pixweave.recipe.yaml_errors import explain_syntax
from pixweave.timeline import expressions

DEEPEST = 40
MOST_NODES = 50_000

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|(0|[1-9][0-9]*)(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_WORDS = {
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
    "null": None,
    "Null": None,
    "NULL": None,
    "~": None,
    "": None,
}
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_COLOUR = re.compile(r"\s*(-\s*)?(#[0-9a-fA-F]{3,8})\b")
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Written(str):
    """A text of a recipe that remembers where it was written and what its paths are relative to."""

    mark: Mark
    folder: Path

    @classmethod
    def make(cls, text: str, mark: Mark, folder: Path) -> Written:
        """The text with its place."""
        made = cls(text)
        made.mark, made.folder = mark, folder
        return made

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)  # copies and pickles are plain texts


@dataclass(frozen=True)
class Node:
    """A value of a recipe and its place: a scalar, a list of nodes, or names with nodes."""

    value: Any
    mark: Mark
    key_mark: Mark | None = None

    def __getitem__(self, key: str | int) -> Node:
        return self.value[key]

    def __contains__(self, key: object) -> bool:
        return isinstance(self.value, dict) and key in self.value

    def get(self, key: str) -> Node | None:
        """The node of that name; None where there is none."""
        return self.value[key] if key in self else None

    def items(self) -> Iterator[tuple[str, Node]]:
        """The names and nodes of a mapping; nothing for any other node."""
        return iter(self.value.items() if isinstance(self.value, dict) else ())

    @property
    def place(self) -> Mark:
        """The mark of the key where there is one, else of the value."""
        return self.key_mark or self.mark

    def plain(self) -> Any:
        """The value as plain Python data; texts stay `Written`."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


def parse(
    text: str, source: str, folder: Path, what: str = "recipe", first: str = "pixweave: 1"
) -> Node:
    """The mapping that a recipe's text holds; RecipeError with every fault found.

    `what` and `first`, a line to begin with, are for messages about other files of the same form.
    """
    refuse_control(text, source)
    reader = _Reader(text, source, folder)
    node = reader.read()
    if not reader.issues and (node is None or node.value is None):
        reader.fail(Mark(source, 1, 1), f"the {what} is empty", f"begin with '{first}'")
    elif not reader.issues and node is not None and not isinstance(node.value, dict):
        kind = "a list" if isinstance(node.value, list) else "a single value"
        reader.fail(
            node.mark, f"a {what} is names with values, not {kind}", f"begin with '{first}'"
        )
    if reader.issues:
        raise RecipeError(reader.issues)
    assert node is not None
    return node


def opened(node: Node, names: Mapping[type, str]) -> Node:
    """The node; a bare text or list as the mapping of one setting for which it stands."""
    for kind, name in names.items():
        if isinstance(node.value, kind):
            return Node({name: node}, node.mark, node.key_mark)
    return node


def is_plain_text(text: str) -> bool:
    """Whether a text on one line means itself when it is written without quotes."""
    kinds = (_INT, _FLOAT, _NOT_FINITE)
    return text not in _WORDS and "\n" not in text and not any(k.fullmatch(text) for k in kinds)


def parse_value(text: str, mark: Mark, folder: Path) -> Node:
    """The value of a `--set`: `[...]`, `{...}` and quotes as in YAML, anything else one scalar."""
    if text.lstrip()[:1] not in ("[", "{", '"', "'"):
        reader = _Reader(text, mark.source, folder, mark)
        node = reader.scalar(text.strip(), mark)
    else:
        reader = _Reader(text, mark.source, folder, mark)
        node = reader.read() or Node(None, mark)
    if reader.issues:
        raise RecipeError(replace(issue, where=mark) for issue in reader.issues)
    return node


def _events(text: str) -> Iterator[Any]:
    """The events of PyYAML's parser.

    Newer libyaml refuses deep nesting by itself, without its place: PyYAML's own parser goes on.
    """
    count = 0
    try:
        for event in yaml.parse(text, Loader=_Loader):
            count += 1
            yield event
        return
    except yaml.YAMLError as error:
        if "maximum nesting depth" not in str(error):
            raise
    yield from itertools.islice(yaml.parse(text, Loader=yaml.SafeLoader), count, None)


class _Stop(Exception):  # noqa: N818 - no error: the issue is noted
    """Reading cannot go on; the issue is noted."""


class _Reader:
    """Builds nodes from the events of PyYAML's parser, so that depth and size stay bounded."""

    def __init__(self, text: str, source: str, folder: Path, fixed: Mark | None = None) -> None:
        self.lines = text.splitlines()
        self.events = _events(text)
        self.source, self.folder, self.fixed = source, folder, fixed
        self.issues: list[Issue] = []
        self.anchors: dict[str, tuple[Node, int] | None] = {}
        self.count = 0

    def fail(self, where: Mark, message: str, hint: str = "") -> None:
        self.issues.append(Issue.at(where, message, hint))

    def mark(self, event: Any) -> Mark:
        start = event.start_mark
        return self.fixed or Mark(self.source, start.line + 1, start.column + 1)

    def read(self) -> Node | None:
        """The node of the only document; None when there is none."""
        found: Node | None = None
        try:
            for event in self.events:
                if isinstance(event, yaml.DocumentStartEvent):
                    if found is not None:
                        self.fail(
                            self.mark(event),
                            "a second document begins here ('---')",
                            "keep one recipe in a file",
                        )
                        break
                    found = self.node(next(self.events), 0)
        except yaml.YAMLError as error:
            self.issues.append(explain_syntax(error, self.lines, self.source))
        except _Stop:
            pass
        return found

    def node(self, event: Any, depth: int) -> Node:
        mark = self.mark(event)
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event.anchor, mark)
        self.spend(1, mark)
        if depth > DEEPEST:
            self.fail(mark, f"nested more than {DEEPEST} deep", "write it flatter")
            raise _Stop
        if event.tag is not None:
            self.fail(mark, f"the tag '{_short(event.tag)}' is not allowed", "remove it")
        before = self.count
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        node = self.content(event, mark, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = (node, self.count - before + 1)
        return node

    def content(self, event: Any, mark: Mark, depth: int) -> Node:
        if isinstance(event, yaml.SequenceStartEvent):
            items = []
            while not isinstance(item := next(self.events), yaml.SequenceEndEvent):
                items.append(self.node(item, depth + 1))
            return Node(items, mark)
        if isinstance(event, yaml.MappingStartEvent):
            return self.mapping(mark, depth)
        if not event.style and event.implicit[0]:
            return self.scalar(event.value, mark)
        return Node(Written.make(event.value, mark, self.folder), mark)

    def mapping(self, mark: Mark, depth: int) -> Node:
        found: dict[str, Node] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.key(event, depth)
            node = self.node(next(self.events), depth + 1)
            if key is None:
                continue
            if key in found:
                first = found[key].place
                at = f" (line {first.line})" if first.line else ""
                self.fail(self.mark(event), f"'{key}' is written twice{at}", "remove one of them")
            else:
                found[key] = replace(node, key_mark=self.mark(event))
        return Node(found, mark)

    def key(self, event: Any, depth: int) -> str | None:
        if isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            self.node(event, depth + 1)
            self.fail(
                self.mark(event),
                "a list or mapping cannot be a name",
                "if this is a text with [ ] or { }, put it in quotes",
            )
            return None
        if isinstance(event, yaml.AliasEvent):
            self.fail(
                self.mark(event), f"the alias '*{event.anchor}' cannot be a name", "write it out"
            )
            return None
        self.node(event, depth + 1)
        if event.value == "<<" and not event.style:
            self.fail(
                self.mark(event),
                "merge keys ('<<') are not read",
                "write the settings out, or put them into a recipe and use 'extends'",
            )
            return None
        if not event.style and event.value in _WORDS:
            self.fail(self.mark(event), f"'{event.value}' cannot be a name", "put it in quotes")
            return None
        return str(event.value)

    def alias(self, anchor: str | None, mark: Mark) -> Node:
        if anchor is None or anchor not in self.anchors:
            self.fail(
                mark,
                f"the alias '*{anchor}' has no anchor '&{anchor}' before it",
                "put a text that begins with '*' in quotes",
            )
            return Node(None, mark)
        known = self.anchors[anchor]
        if known is None:
            self.fail(mark, f"the alias '*{anchor}' is inside its own anchor", "write it out")
            return Node(None, mark)
        self.spend(known[1], mark)
        return known[0]

    def spend(self, nodes: int, mark: Mark) -> None:
        self.count += nodes
        if self.count > MOST_NODES:
            self.fail(
                mark,
                f"the recipe has more than {MOST_NODES} values, counting aliases",
                "remove the repeated ones",
            )
            raise _Stop

    def scalar(self, text: str, mark: Mark) -> Node:
        """What a plain scalar means in YAML 1.2."""
        if text in _WORDS:
            self.check_colour(text, mark)
            return Node(_WORDS[text], mark)
        if _INT.fullmatch(text) and len(text) <= 40:
            return Node(int(text), mark)
        if _FLOAT.fullmatch(text) or _NOT_FINITE.fullmatch(text):
            number = float(text) if text[-1] not in "fFnN" else math.inf
            if not math.isfinite(number):
                self.fail(
                    mark,
                    f"'{expressions.shorten(text)}' is not a finite number",
                    "if it is a colour or a name, put it in quotes",
                )
            return Node(number, mark)
        return Node(Written.make(text, mark, self.folder), mark)

    def check_colour(self, text: str, mark: Mark) -> None:
        line = self.lines[mark.line - 1] if 0 < mark.line <= len(self.lines) else ""
        if not text and (match := _COLOUR.match(line, mark.column - 1)):
            self.fail(
                mark,
                f"'{match[2]}' is a comment here, so nothing is set",
                f'put the colour in quotes: "{match[2]}"',
            )


def _short(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")
