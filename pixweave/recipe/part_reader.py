"""The parts of a recipe: sugar undone, the right component found, its settings validated."""

from __future__ import annotations

import functools
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from pixweave.component import Component
from pixweave.errors import Mark, did_you_mean
from pixweave.recipe import top_level
from pixweave.recipe.nodes import Node, Written, opened
from pixweave.recipe.validation import Subject, Validator
from pixweave.timeline.expressions import Wrong
from pixweave.timeline.values import Value

if TYPE_CHECKING:
    from pixweave.plugins import Offer, Plugins

RESERVED = ("use", "id", "weight")


@dataclass(frozen=True)
class Part:
    """One part of a recipe: which component, under which id, with which settings.

    `weight` multiplies a loss or a perceptor over time; for other kinds it is 1. `plugin` is the
    name of the plugin that offers the component. Equality ignores where it was written.
    """

    kind: str
    use: str
    id: str
    weight: Value
    settings: Component
    plugin: str = field(compare=False)
    mark: Mark = field(compare=False, repr=False)
    node: Node = field(compare=False, repr=False)


def desugar(tree: Node) -> Node:
    """The tree with `prompts` among the losses, and every part and export a mapping with `use`."""
    held = dict(tree.value)
    prompts = held.pop("prompts", None)
    for key in top_level.KINDS:
        if key in held:
            bare = "file" if key == "export" else "use"
            held[key] = _each(held[key], functools.partial(_named, key=bare))
    if prompts is not None and prompts.value is not None:
        wished = _each(_listed(prompts), _prompt)
        if isinstance(wished.value, list):  # bad ones are reported from the written tree
            good = [item for item in wished.value if isinstance(item.value, dict)]
            wished = replace(wished, value=good)
        losses = held.get("losses")
        if losses is None or losses.value is None:
            losses = Node([], prompts.mark)
        if isinstance(wished.value, list) and isinstance(losses.value, list):
            held["losses"] = replace(losses, value=[*wished.value, *losses.value])
        elif not isinstance(wished.value, list):
            held["prompts"] = wished
    for key, names in top_level.BARE.items():
        if key in held:
            held[key] = opened(held[key], names)
    if isinstance(held.get("optimizer", tree).value, str):
        held["optimizer"] = _named(held["optimizer"], "use")
    return replace(tree, value=held)


def bad_prompts(tree: Node) -> list[Node]:
    """The items of `prompts` that are neither a text nor a mapping."""
    prompts = tree.get("prompts")
    items = prompts.value if prompts is not None and isinstance(prompts.value, list) else []
    return [item for item in items if not isinstance(item.value, (str, dict))]


def _listed(node: Node) -> Node:
    """A single text or mapping where a list is meant."""
    return Node([node], node.mark, node.key_mark) if isinstance(node.value, (str, dict)) else node


def _each(node: Node, change: Callable[[Node], Node]) -> Node:
    if isinstance(node.value, list):
        return replace(node, value=[change(item) for item in node.value])
    return change(node) if isinstance(node.value, (str, dict)) else node


def _named(node: Node, key: str) -> Node:
    return Node({key: node}, node.mark, node.key_mark) if isinstance(node.value, str) else node


def _prompt(node: Node) -> Node:
    node = _named(node, "text")
    if not isinstance(node.value, dict) or "use" in node:
        return node
    use = Node(Written.make("prompt", node.mark, Path()), node.mark)
    return replace(node, value={"use": use, **node.value})


class PartReader:
    """Reads the parts of a desugared tree; problems go to the validator."""

    def __init__(self, plugins: Plugins, validator: Validator) -> None:
        self.plugins, self.check = plugins, validator

    def read(self, tree: Node, key: str, kind: str = "") -> tuple[Part, ...]:
        """The parts under a key of the recipe, or of a stage (then `kind` says of which kind)."""
        kind = kind or top_level.KINDS[key]
        if key not in tree or (tree[key].value is None and key != "generator"):
            return ()
        node = tree[key]
        items = [node] if key == kind else node.value  # a key in the singular holds one
        if not isinstance(items, list):
            self.check.fail(
                node.mark,
                f"'{key}' must be a list",
                f"write '{key}: [...]', or one '- item' on each line",
            )
            return ()
        parts = [part for item in items if (part := self._one(kind, item)) is not None]
        return tuple(self._with_ids(kind, parts))

    def _one(self, kind: str, node: Node) -> Part | None:
        if not isinstance(node.value, dict):
            a = "a file name" if kind == "exporter" else f"the name of {_a(kind)}"
            self.check.fail(
                node.mark,
                f"{a} or its settings must stand here, not {_shown(node)}",
                "write a name, or a mapping with 'file'"
                if kind == "exporter"
                else "write a name, or {use: name, ...}",
            )
            return None
        offer = self._offer(kind, node)
        weight, id_ = self._weight(kind, node), self._id(kind, node)
        if offer is None:
            return None
        own = RESERVED if kind in top_level.WEIGHED else RESERVED[:2]
        subject = Subject(f"{kind} '{offer.name}'", also=own)
        rest = {k: n for k, n in node.items() if k not in RESERVED}
        settings = self.check.settings(offer.component, replace(node, value=rest), subject)
        if settings is None or weight is None:
            return None
        return Part(
            kind,
            str(_use(node) or offer.name),
            id_,
            weight,
            settings,
            offer.plugin,
            node.mark,
            node,
        )

    def _offer(self, kind: str, node: Node) -> Offer | None:
        try:
            if "use" not in node:
                if kind == "exporter":
                    return self._by_suffix(node)
                self._nameless(kind, node)
                return None
            use = node["use"]
            if not isinstance(use.value, str) or not use.value:
                self.check.fail(
                    use.mark,
                    f"'use' must be the name of {_a(kind)}",
                    did_you_mean("", self.plugins.offers(kind)),
                )
                return None
            return self.plugins.find(kind, str(use.value))
        except LookupError as error:
            message, hint = (*error.args, "")[:2]
            place = node.get("use") or node.get("file") or node
            self.check.fail(place.mark, str(message), str(hint))
            return None

    def _nameless(self, kind: str, node: Node) -> None:
        self.check.fail(
            node.mark,
            f"this {kind} has no 'use: name'",
            did_you_mean("", self.plugins.offers(kind)),
        )

    def _by_suffix(self, node: Node) -> Offer | None:
        file = node.get("file")
        if file is None or not isinstance(file.value, str) or not file.value:
            self.check.fail(
                (file or node).mark,
                "an export needs a file name",
                "write it like 'file: picture.png'",
            )
            return None
        is_folder = file.value.endswith("/")
        suffix = "/" if is_folder else PurePosixPath(file.value).suffix.lower()
        if not suffix:
            self.check.fail(
                file.mark,
                f"the file name '{file.value}' has no ending",
                "add one, like .png, or 'use: NAME'",
            )
            return None
        return self.plugins.exporter_for(suffix)

    def _weight(self, kind: str, node: Node) -> Value | None:
        weight = node.get("weight")
        if weight is None:
            return Value(1)
        if kind not in top_level.WEIGHED:
            self.check.fail(
                weight.place, f"{_a(kind)} has no 'weight'", "only losses and perceptors have one"
            )
            return None
        try:
            return Value(weight.plain())
        except Wrong as wrong:
            name = _use(node) or ""
            self.check.fail(weight.mark, f"'weight' of {kind} '{name}' {wrong.message}", wrong.hint)
            return None

    def _id(self, kind: str, node: Node) -> str:
        id_ = node.get("id")
        if id_ is None:
            return ""
        if not isinstance(id_.value, str) or not re.fullmatch(r"[A-Za-z][\w-]{0,63}", id_.value):
            self.check.fail(
                id_.mark,
                f"'id' must be a name, not {_shown(id_)}",
                "begin with a letter; letters, digits, - and _ may follow",
            )
            return ""
        return str(id_.value)

    def _with_ids(self, kind: str, parts: Sequence[Part]) -> Iterable[Part]:
        """Every part with an id: the one written, or its name, numbered when repeated."""
        written = Counter(part.id for part in parts if part.id)
        taken = set(written)
        for id_, count in written.items():
            if count > 1:
                last = [p for p in parts if p.id == id_][-1].node["id"]
                self.check.fail(last.mark, f"the id '{id_}' is taken", "choose another")
        numbers: dict[str, Iterator[int]] = {}
        for part in parts:
            name = id_ = part.id or part.use.rpartition("/")[2]
            while not part.id and id_ in taken:
                id_ = f"{name}-{next(numbers.setdefault(name, itertools.count(2)))}"
            taken.add(id_)
            yield replace(part, id=id_)


def _use(node: Node) -> str | None:
    use = node.get("use")
    return str(use.value) if use is not None and isinstance(use.value, str) else None


def _a(kind: str) -> str:
    return f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"


def _shown(node: Node) -> str:
    if isinstance(node.value, (dict, list)):
        return "a mapping" if isinstance(node.value, dict) else "a list"
    if isinstance(node.value, str):
        return f"'{node.value}'"
    return "nothing" if node.value is None else str(node.value).lower()
