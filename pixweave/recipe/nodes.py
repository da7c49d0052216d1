"""Parse YAML text into nodes with source locations.

Scalars follow YAML 1.2: `16:9`, `on`, `0123` and dates are texts; `1e-3` and `0x10` are numbers.
Rejected, each with its location: duplicate keys, tags, merge keys, several documents, numbers that
are not finite, too deep nesting, and too many values through aliases.
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
from pixweave.recipe.written import Written
from pixweave.recipe.yaml_errors import explain_syntax
from pixweave.timeline import expressions

DEEPEST = 40
MOST_NODES = 50_000

_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)|0x[0-9a-fA-F]+|0o[0-7]+")
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


@dataclass(frozen=True)
class Node:
    """A value of a recipe with its source location: a scalar, a list or a mapping of nodes."""

    value: Any
    mark: Mark
    key_mark: Mark | None = None

    def __getitem__(self, key: str | int) -> Node:
        return self.value[key]

    def __contains__(self, key: object) -> bool:
        return isinstance(self.value, dict) and key in self.value

    def get(self, key: str) -> Node | None:
        """The node of that key, or None."""
        return self.value[key] if key in self else None

    def items(self) -> Iterator[tuple[str, Node]]:
        """The keys and nodes of a mapping; empty for any other node."""
        return iter(self.value.items() if isinstance(self.value, dict) else ())

    @property
    def place(self) -> Mark:
        """The source location of the key if there is one, else of the value."""
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
    """Parse the text of a recipe into a mapping node; raises RecipeError with all issues found.

    `what` and `first` (an example of the first line) are for messages about other YAML files.
    """
    refuse_control(text, source)
    reader = _Reader(text, source, folder)
    node = reader.read()
    if not reader.issues and (node is None or node.value is None):
        reader.fail(Mark(source, 1, 1), f"the {what} is empty", f"start with '{first}'")
    elif not reader.issues and node is not None and not isinstance(node.value, dict):
        kind = "a list" if isinstance(node.value, list) else "a single value"
        reader.fail(
            node.mark,
            f"a {what} must be a mapping of keys to values, not {kind}",
            f"start with '{first}'",
        )
    if reader.issues:
        raise RecipeError(reader.issues)
    assert node is not None
    return node


def opened(node: Node, names: Mapping[type, str]) -> Node:
    """The node, with a short form (text or list) expanded to a mapping of one setting."""
    for kind, name in names.items():
        if isinstance(node.value, kind):
            return Node({name: node}, node.mark, node.key_mark)
    return node


def is_plain_text(text: str) -> bool:
    """Whether YAML reads the text as the same text when it is written without quotes."""
    kinds = (_INT, _FLOAT, _NOT_FINITE)
    return text not in _WORDS and "\n" not in text and not any(k.fullmatch(text) for k in kinds)


def parse_value(text: str, mark: Mark, folder: Path) -> Node:
    """Parse the value of a `--set`: `[...]`, `{...}` and quotes as YAML, else as a scalar."""
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

    Newer versions of libyaml reject deep nesting without a location; then PyYAML's own parser
    continues.
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


class _Stop(Exception):  # noqa: N818 - the issue was added already
    """Raised to stop reading, after an issue was added."""


class _Reader:
    """Builds nodes from the events of PyYAML's parser, with limits on depth and size."""

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
        """The node of the document, or None if the text is empty."""
        found: Node | None = None
        try:
            for event in self.events:
                if isinstance(event, yaml.DocumentStartEvent):
                    if found is not None:
                        self.fail(
                            self.mark(event),
                            "a second YAML document starts here ('---')",
                            "keep one recipe per file",
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
            self.fail(mark, f"nested more than {DEEPEST} levels deep", "reduce the nesting")
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
                self.fail(self.mark(event), f"'{key}' is set twice{at}", "remove one of them")
            else:
                found[key] = replace(node, key_mark=self.mark(event))
        return Node(found, mark)

    def key(self, event: Any, depth: int) -> str | None:
        if isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            self.node(event, depth + 1)
            self.fail(
                self.mark(event),
                "a list or mapping cannot be a key",
                "if this is a text with [ ] or { }, put it in quotes",
            )
            return None
        if isinstance(event, yaml.AliasEvent):
            self.fail(
                self.mark(event), f"the alias '*{event.anchor}' cannot be a key", "write it out"
            )
            return None
        self.node(event, depth + 1)
        if event.value == "<<" and not event.style:
            self.fail(
                self.mark(event),
                "merge keys ('<<') are not supported",
                "write the settings out, or move them to another recipe and use 'extends'",
            )
            return None
        if not event.style and event.value in _WORDS:
            self.fail(self.mark(event), f"'{event.value}' cannot be a key", "put it in quotes")
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
        target = self.anchors[anchor]
        if target is None:
            self.fail(mark, f"the alias '*{anchor}' is inside its own anchor", "write it out")
            return Node(None, mark)
        self.spend(target[1], mark)
        return target[0]

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
        """The value of a plain scalar in YAML 1.2."""
        if text in _WORDS:
            self.check_colour(text, mark)
            return Node(_WORDS[text], mark)
        if _INT.fullmatch(text) and len(text) <= 40:
            return Node(int(text, 0), mark)
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
                f"'{match[2]}' is a comment here, so no value is set",
                f'put the colour in quotes: "{match[2]}"',
            )


def _short(tag: str) -> str:
    return tag.replace("tag:yaml.org,2002:", "!!")
