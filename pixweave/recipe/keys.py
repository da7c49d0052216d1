"""Recipe keys as Python values: `steps=60`, `generator={"use": "pixel"}`, as one layer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pixweave.errors import Issue, Mark, RecipeError
from pixweave.recipe import top_level
from pixweave.recipe.nodes import Node
from pixweave.recipe.recipe import flow_yaml
from pixweave.recipe.written import Written
from pixweave.timeline.values import Value

LISTS = ("prompts", *(key for key in top_level.KINDS if key != "generator"), "stages")
"""The keys whose value is a list; a single item may be given without one."""


def keys_node(keys: Mapping[str, Any], folder: Path) -> Node:
    """The values as a layer; RecipeError if one is of a type that no recipe can hold.

    Paths in it are relative to `folder`. The source location of each value is the argument that
    gave it: `argument losses[0].weight`.
    """
    issues: list[Issue] = []
    found = {}
    for key, value in keys.items():
        if key in LISTS and not isinstance(value, (list, tuple)):
            value = [value]
        found[key] = _node(value, key, folder, issues)
    if issues:
        raise RecipeError(issues)
    return Node(found, Mark("arguments"))


def keys_text(node: Node) -> str:
    """The layer as the text of a recipe."""
    keys = {"pixweave": top_level.FORMAT, **_plain(node)}
    return "".join(f"{key}: {flow_yaml(value)}\n" for key, value in keys.items())


def _mark(place: str) -> Mark:
    return Mark(f"argument {place}")


def _node(value: Any, place: str, folder: Path, issues: list[Issue]) -> Node:
    mark = _mark(place)
    if isinstance(value, Value):
        value = value.raw
    elif type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, (str, Path)):
        return Node(Written.make(str(value), mark, folder), mark, mark)
    if isinstance(value, Mapping):
        return Node(dict(_entries(value, place, folder, issues)), mark, mark)
    if isinstance(value, (list, tuple)):
        items = [_node(item, f"{place}[{i}]", folder, issues) for i, item in enumerate(value)]
        return Node(items, mark, mark)
    if isinstance(value, float) and not math.isfinite(value):
        issues.append(Issue.at(mark, f"'{value}' is not a finite number"))
    elif value is not None and not isinstance(value, (bool, int, float)):
        message = f"a recipe cannot hold an object of type '{type(value).__name__}'"
        issues.append(Issue.at(mark, message, "give text, a number, a list or a dict"))
    return Node(value, mark, mark)


def _entries(
    value: Mapping[Any, Any], place: str, folder: Path, issues: list[Issue]
) -> Iterator[tuple[str, Node]]:
    for key, item in value.items():
        name = str(key)
        inner = f"{place}.{name}" if name.isidentifier() else f"{place}[{key!r}]"
        yield name, _node(item, inner, folder, issues)


def _plain(node: Node) -> dict[str, Any]:
    """The layer as plain data, with plain texts."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list):
            return [plain(item) for item in value]
        return str(value) if isinstance(value, str) else value

    return {key: plain(item) for key, item in node.plain().items()}
