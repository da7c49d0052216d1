"""Overrides: apply `--set a.b.0.c=value`, `--set a+=value` and `--set ~a` to a recipe."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pixweave.errors import InvalidValue, Issue, Mark, RecipeError, did_you_mean
from pixweave.recipe import nodes, top_level
from pixweave.recipe.nodes import Node
from pixweave.recipe.written import Written

_PATH = re.compile(r"[^.=\[\]\s]+(\.[^.=\[\]\s]+)*")
_LISTS = ("prompts", "perceptors", "losses", "augmentations", "filters", "export")


@dataclass(frozen=True)
class Change:
    """One `--set`: a path, a value, and whether it sets (`=`), appends (`+`) or removes (`~`)."""

    path: tuple[str, ...]
    action: str
    value: Node
    mark: Mark


def read(text: str) -> Change:
    """Parse the text of a `--set`; raises RecipeError if it is invalid."""
    mark = Mark(f"--set {text}")
    name, equals, value = text.partition("=")
    action = "~" if text.startswith("~") else "+" if name.endswith("+") and equals else "="
    name = text[1:] if action == "~" else name.removesuffix("+")
    name = re.sub(r"\[(\w+)\]", r".\1", name.strip())
    if not _PATH.fullmatch(name) or (action != "~" and not equals):
        raise RecipeError(
            Issue.at(
                mark,
                "is not a valid setting",
                'write for example steps=100, losses.0.weight=2, prompts+="an owl" or ~title',
            )
        )
    node = Node(None, mark) if action == "~" else nodes.parse_value(value, mark, Path.cwd())
    return Change(tuple(name.split(".")), action, node, mark)


def apply(tree: Node, change: Change) -> Node:
    """The tree with the change applied; raises RecipeError if the path does not exist."""
    try:
        changed = _put(tree, change.path, (), _final_edit(change))
    except InvalidValue as error:
        raise RecipeError(Issue.at(change.mark, error.message, error.hint)) from None
    return changed or tree


def layer(changes: Sequence[Change]) -> Node | None:
    """The changes that refer to other layers (quality=draft), as one layer, or None."""
    found: dict[str, Node] = {}
    for change in changes:
        if change.action == "~" or len(change.path) != 1:
            path = ".".join(change.path)
            raise RecipeError(
                Issue.at(
                    change.mark,
                    f"'{path}' can only be set as a whole",
                    f"write --set {change.path[0]}=NAME",
                )
            )
        node, key = change.value, change.path[0]
        if change.action == "+" and key in found:
            before = found[key].value if isinstance(found[key].value, list) else [found[key]]
            node = Node([*before, node], node.mark)
        found[key] = node
    return Node(found, changes[-1].mark) if changes else None


_Edit = Callable[[Node | None, tuple[str, ...]], Node | None]


def _final_edit(change: Change) -> _Edit:
    """A function from the node at the path, None if it is new, to its replacement."""

    def edit(old: Node | None, path: tuple[str, ...]) -> Node | None:
        if change.action == "~":
            if old is None:
                raise InvalidValue(f"there is no '{'.'.join(path)}' to remove")
            return None
        new = replace(change.value, key_mark=change.mark)
        if change.action == "+":
            return _append(old, new, path)
        is_text = isinstance(new.value, str) and old is not None and "text" in old
        if is_text and path[0] == "prompts" and len(path) == 2:
            assert old is not None  # a new text keeps the weight of the prompt
            return replace(old, value={**old.value, "text": new})
        return new

    return edit


def _append(old: Node | None, new: Node, path: tuple[str, ...]) -> Node:
    if old is not None and isinstance(old.value, str) and path == ("prompts",):
        old = Node([old], old.mark)
    if old is not None and not isinstance(old.value, list):
        raise InvalidValue(f"'{'.'.join(path)}' is not a list", "set it with '='")
    return Node([*(old.value if old else []), new], old.mark if old else new.mark, new.key_mark)


def _put(
    node: Node | None, rest: tuple[str, ...], path: tuple[str, ...], edit: _Edit
) -> Node | None:
    if not rest:
        return edit(node, path)
    node = _open(node, path)
    if node is not None and isinstance(node.value, list):
        return _put_item(node, rest, path, edit)
    if node is not None and not isinstance(node.value, dict):
        raise InvalidValue(
            f"'{'.'.join(path)}' is a single value", f"set it with {'.'.join(path)}=..."
        )
    entries = dict(node.value) if node else {}
    new = _put(entries.get(rest[0]), rest[1:], (*path, rest[0]), edit)
    if new is None:
        entries.pop(rest[0], None)
    else:
        entries[rest[0]] = new
    return replace(node, value=entries) if node else Node(entries, new.mark if new else Mark(""))


def _put_item(node: Node, rest: tuple[str, ...], path: tuple[str, ...], edit: _Edit) -> Node:
    items = list(node.value)
    index = _index(items, rest[0], path)
    old = items[index] if index < len(items) else None
    new = _put(old, rest[1:], (*path, rest[0]), edit)
    items[index : index + 1] = [] if new is None else [new]
    return replace(node, value=items)


def _open(node: Node | None, path: tuple[str, ...]) -> Node | None:
    """The node with its short form expanded: a bare name becomes a mapping."""
    head = path[0] if path else ""
    if node is None:
        return Node([], Mark("default")) if len(path) == 1 and head in _LISTS else None
    if isinstance(node.value, str) and head == "prompts" and len(path) == 1:
        return Node([node], node.mark, node.key_mark)
    if len(path) == 1 and head in top_level.BARE:
        return nodes.opened(node, top_level.BARE[head])
    single = len(path) == 1 and head in ("generator", "optimizer")
    if isinstance(node.value, str) and (single or (len(path) == 2 and head in _LISTS)):
        name = {"prompts": "text", "export": "file"}.get(head, "use")
        return Node({name: node}, node.mark, node.key_mark)
    return node


def _index(items: list[Node], name: str, path: tuple[str, ...]) -> int:
    whole = ".".join(path)
    if name.isdecimal() and len(name) < 6:
        if int(name) > len(items):
            count = f"{len(items)} item{'s' if len(items) != 1 else ''}"
            raise InvalidValue(
                f"'{whole}' has {count}, so {whole}.{name} does not exist",
                f"{whole}.{len(items)} appends one",
            )
        return int(name)
    names = [_name_of(item) for item in items]
    if names.count(name) == 1:
        return names.index(name)
    if name in names:
        raise InvalidValue(
            f"several items of '{whole}' are named '{name}'", "use the index or an id"
        )
    hint = did_you_mean(name, [n for n in names if n])
    raise InvalidValue(f"no item of '{whole}' is named '{name}'", hint or "use its index")


def _name_of(item: Node) -> str:
    for key in ("id", "use", "file"):
        if key in item:
            return str(item[key].value)
    return str(item.value) if isinstance(item.value, Written) else ""


def is_layer(change: Change) -> bool:
    """Whether the change refers to other layers: extends, quality or presets."""
    return change.path[0] in top_level.LAYERS
