"""Read the parts of a recipe: expand short forms, find components, validate settings."""

from __future__ import annotations

import functools
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from pixweave.component import Component, Part, PartSetting, part_settings
from pixweave.errors import InvalidValue, Mark, describe_value, did_you_mean, indefinite
from pixweave.recipe import top_level
from pixweave.recipe.nodes import Node, opened
from pixweave.recipe.validation import Subject, Validator
from pixweave.recipe.written import Written
from pixweave.timeline.values import Value

if TYPE_CHECKING:
    from pixweave.plugins import Plugins, RegisteredComponent

C = TypeVar("C", bound=Component)

RESERVED = ("use", "id", "weight")
LOSSES = "losses"
"""A setting with this name that holds losses can also be written as `prompts`."""


def expand(tree: Node) -> Node:
    """The tree with `prompts` moved to the losses, and all parts expanded to mappings."""
    entries = dict(tree.value)
    for key in top_level.KINDS:
        if key in entries:
            bare = "file" if key == "export" else "use"
            entries[key] = _each(entries[key], functools.partial(_named, key=bare))
    entries = _with_prompts(entries)
    for key, names in top_level.BARE.items():
        if key in entries:
            entries[key] = opened(entries[key], names)
    if isinstance(entries.get("optimizer", tree).value, str):
        entries["optimizer"] = _named(entries["optimizer"], "use")
    return replace(tree, value=entries)


def bad_prompts(tree: Node) -> list[Node]:
    """The items of `prompts` that are neither a text nor a mapping."""
    prompts = tree.get("prompts")
    items = prompts.value if prompts is not None and isinstance(prompts.value, list) else []
    return [item for item in items if not isinstance(item.value, (str, dict))]


def locate(node: Node, setting: str) -> Mark:
    """The source location of a setting (`palette`, `colors.2`), else of the enclosing node."""
    for step in setting.split(".") if setting else ():
        if isinstance(node.value, list) and step.isdecimal() and int(step) < len(node.value):
            node = node[int(step)]
        elif step in node:
            node = node[step]
        else:
            break
    return node.mark


def _with_prompts(entries: Mapping[str, Node]) -> dict[str, Node]:
    """The entries with `prompts` converted to losses, before the other losses."""
    result = dict(entries)
    prompts = result.pop("prompts", None)
    if prompts is None or prompts.value is None:
        return result
    converted = _each(_listed(prompts), _prompt)
    if isinstance(converted.value, list):
        good = [item for item in converted.value if isinstance(item.value, dict)]
        if bad := [item for item in converted.value if not isinstance(item.value, dict)]:
            result["prompts"] = replace(converted, value=bad)  # its reader reports them
        converted = replace(converted, value=good)
    losses = result.get(LOSSES)
    if losses is None or losses.value is None:
        losses = Node([], prompts.mark)
    if isinstance(converted.value, list) and isinstance(losses.value, list):
        result[LOSSES] = replace(losses, value=[*converted.value, *losses.value])
    elif not isinstance(converted.value, list):
        result["prompts"] = converted
    return result


def _listed(node: Node) -> Node:
    """A single text or mapping as a list of one item; any other node unchanged."""
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


def inline_settings(component: type[Component], plugins: Plugins) -> dict[str, tuple[str, ...]]:
    """Inline settings: those of a nested part that may be written in the component itself.

    A mapping of the name of the part setting to the names of the inline settings.
    """
    found = {}
    for name, spec in part_settings(component).items():
        registered = plugins.offers(spec.kind).get(spec.inline) if spec.inline else None
        if registered is not None:
            fields = component.model_fields
            found[name] = tuple(
                key for key in registered.component.model_fields if key not in fields
            )
    return found


def takes_prompts(component: type[Component]) -> bool:
    """Whether the component accepts `prompts` for its losses."""
    spec = part_settings(component).get(LOSSES)
    return spec is not None and spec.many and spec.kind == "loss"


class PartReader:
    """Reads the parts of an expanded tree; issues are added to the validator."""

    def __init__(self, plugins: Plugins, validator: Validator) -> None:
        self.plugins, self.check = plugins, validator

    def read(self, tree: Node, key: str) -> tuple[Part, ...]:
        """The parts under a key of the recipe."""
        kind = top_level.KINDS[key]
        return self._under(tree, key, kind, many=key != kind)  # singular keys hold one part

    def default(self, kind: str, name: str) -> Part | None:
        """The part of that name with its default settings; None if they are invalid."""
        node = Node({"use": _default_node(name)}, DEFAULT_MARK)
        found = self._under(Node({kind: node}, DEFAULT_MARK), kind, kind, many=False)
        return found[0] if found else None

    def settings(self, component: type[C], node: Node, subject: Subject) -> C | None:
        """The settings of a mapping, including nested parts; None if they are invalid."""
        before = len(self.check.issues)
        node = self._with_parts(component, node, subject)
        if len(self.check.issues) > before:
            return None
        return self.check.settings(component, node, subject)

    def _with_parts(self, component: type[Component], node: Node, subject: Subject) -> Node:
        """The node with its nested parts read, each as a Part or a list of Parts."""
        specs = part_settings(component)
        if not specs:
            return node
        if takes_prompts(component):
            for bad in bad_prompts(node):
                message = "a prompt must be text, or a mapping with 'text' or 'image'"
                self.check.fail(bad.mark, message, "put a number in quotes")
            node = replace(node, value=_with_prompts(node.value))
        node = self._without_inline(component, node)
        entries = dict(node.value)
        for name, spec in specs.items():
            if name not in entries and spec.default is not None:
                entries[name] = _default_node(spec.default)
            if name not in entries or entries[name].value in (None, []):
                self._check_needed(component, name, spec, node, subject)
                entries.pop(name, None)
                continue
            entry = _each(entries[name], functools.partial(_named, key="use"))
            parts = self._under(Node({name: entry}, node.mark), name, spec.kind, spec.many)
            part_nodes = [Node(part, part.mark) for part in parts]
            if spec.many:
                entries[name] = replace(entry, value=part_nodes)
            elif part_nodes:
                entries[name] = replace(entry, value=part_nodes[0].value)
        return replace(node, value=entries)

    def _without_inline(self, component: type[Component], node: Node) -> Node:
        """The node with inline settings moved into the nested part they belong to."""
        entries = dict(node.value)
        for name, keys in inline_settings(component, self.plugins).items():
            spec = part_settings(component)[name]
            given = _named(entries[name], "use").value if name in entries else {}
            if given and isinstance(given, dict):  # another part may have settings of those names
                own = self._settings_of(spec.kind, given.get("use"))
                keys = tuple(own - set(component.model_fields) - set(given))
            moved = {key: entries.pop(key) for key in keys if key in entries}
            if moved:
                mark = next(iter(moved.values())).place
                use = Node(Written.make(spec.inline, mark, Path()), mark)
                entries[name] = Node({"use": use, **given, **moved}, mark)
        return replace(node, value=entries)

    def _settings_of(self, kind: str, use: Node | None) -> set[str]:
        """The names of the settings of a component; empty if there is none of that name."""
        try:
            found = self.plugins.find(kind, str(use.value)) if use is not None else None
        except LookupError:
            return set()
        return set() if found is None else set(found.component.model_fields)

    def _check_needed(
        self,
        component: type[Component],
        name: str,
        spec: PartSetting,
        node: Node,
        subject: Subject,
    ) -> None:
        info = component.model_fields[name]
        if not info.is_required():
            return
        missing = (
            "prompts or losses" if takes_prompts(component) and name == LOSSES else f"'{name}'"
        )
        if spec.inline:
            missing += f", or settings of '{spec.inline}'"
        about = f" ({info.description})" if info.description else ""
        self.check.fail(node.mark, f"{subject.name} needs {missing}", f"add '{name}: ...'{about}")

    def _under(self, tree: Node, key: str, kind: str, many: bool) -> tuple[Part, ...]:
        """The parts of a kind at a key, which holds one or a list."""
        if key not in tree or (tree[key].value is None and many):
            return ()
        node = tree[key]
        items = node.value if many else [node]
        if not isinstance(items, list):
            self.check.fail(
                node.mark,
                f"'{key}' must be a list",
                f"write '{key}: [...]', or one '- item' per line",
            )
            return ()
        parts = [part for item in items if (part := self.one(kind, item)) is not None]
        return tuple(self._with_ids(parts))

    def one(self, kind: str, node: Node) -> Part | None:
        """The part of a kind that a mapping describes; None, with an issue, if it is invalid."""
        if not isinstance(node.value, dict):
            exporter = kind == "exporter"
            expected = "a file name" if exporter else f"the name of {indefinite(kind)}"
            form = "a mapping with 'file'" if exporter else "{use: name, ...}"
            self.check.fail(
                node.mark,
                f"expected {expected} or its settings, not {describe_value(node.value)}",
                f"write a name, or {form}",
            )
            return None
        registered = self._offer(kind, node)
        weight, id_ = self._weight(kind, node), self._id(node)
        if registered is None:
            return None
        reserved = RESERVED if kind in top_level.WEIGHED else RESERVED[:2]
        subject = Subject(
            f"{kind} '{registered.name}'", also=(*reserved, *self._also(registered.component))
        )
        rest = {k: n for k, n in node.items() if k not in RESERVED}
        settings = self.settings(registered.component, replace(node, value=rest), subject)
        if settings is None or weight is None:
            return None
        name = str(_use(node) or registered.name)
        return make_part(registered, name, settings, node, id_, weight)

    def _also(self, component: type[Component]) -> tuple[str, ...]:
        """Keys that are allowed in addition to the component's settings."""
        inline = inline_settings(component, self.plugins).values()
        prompts = ("prompts",) if takes_prompts(component) else ()
        return (*prompts, *itertools.chain.from_iterable(inline))

    def _offer(self, kind: str, node: Node) -> RegisteredComponent | None:
        try:
            if "use" not in node:
                if kind == "exporter":
                    return self._by_suffix(node)
                self._report_no_use(kind, node)
                return None
            use = node["use"]
            if not isinstance(use.value, str) or not use.value:
                self.check.fail(
                    use.mark,
                    f"'use' must be the name of {indefinite(kind)}",
                    did_you_mean("", self.plugins.offers(kind)),
                )
                return None
            return self.plugins.find(kind, str(use.value))
        except LookupError as error:
            message, hint = (*error.args, "")[:2]
            place = node.get("use") or node.get("file") or node
            self.check.fail(place.mark, str(message), str(hint))
            return None

    def _report_no_use(self, kind: str, node: Node) -> None:
        self.check.fail(
            node.mark,
            f"this {kind} has no 'use: name'",
            did_you_mean("", self.plugins.offers(kind)),
        )

    def _by_suffix(self, node: Node) -> RegisteredComponent | None:
        file = node.get("file")
        if file is None or not isinstance(file.value, str) or not file.value:
            self.check.fail(
                (file or node).mark,
                "an export needs a file name",
                "write for example 'file: picture.png'",
            )
            return None
        is_folder = file.value.endswith("/")
        suffix = "/" if is_folder else PurePosixPath(file.value).suffix.lower()
        if not suffix:
            self.check.fail(
                file.mark,
                f"the file name '{file.value}' has no extension",
                "add one, such as .png, or 'use: NAME'",
            )
            return None
        return self.plugins.exporter_for(suffix)

    def _weight(self, kind: str, node: Node) -> Value | None:
        weight = node.get("weight")
        if weight is None:
            return Value(1)
        if kind not in top_level.WEIGHED:
            self.check.fail(
                weight.place,
                f"{indefinite(kind)} has no 'weight'",
                "only losses and perceptors have one",
            )
            return None
        try:
            return Value(weight.plain())
        except InvalidValue as error:
            name = _use(node) or ""
            self.check.fail(weight.mark, f"'weight' of {kind} '{name}' {error.message}", error.hint)
            return None

    def _id(self, node: Node) -> str:
        id_ = node.get("id")
        if id_ is None:
            return ""
        if not isinstance(id_.value, str) or not re.fullmatch(r"[A-Za-z][\w-]{0,63}", id_.value):
            self.check.fail(
                id_.mark,
                f"'id' must be a name, not {describe_value(id_.value)}",
                "start with a letter; then letters, digits, - and _",
            )
            return ""
        return str(id_.value)

    def _with_ids(self, parts: Sequence[Part]) -> Iterable[Part]:
        """The parts with ids: the given id, or the name, numbered if repeated."""
        written = Counter(part.id for part in parts if part.id)
        taken = set(written)
        for id_, count in written.items():
            if count > 1:
                last = [part for part in parts if part.id == id_][-1]
                self.check.fail(
                    last.locate("id"), f"the id '{id_}' is already used", "choose another"
                )
        numbers: dict[str, Iterator[int]] = {}
        for part in parts:
            name = id_ = part.id or part.use.rpartition("/")[2]
            while not part.id and id_ in taken:
                id_ = f"{name}-{next(numbers.setdefault(name, itertools.count(2)))}"
            taken.add(id_)
            yield replace(part, id=id_)


def make_part(
    registered: RegisteredComponent,
    use: str,
    settings: Component,
    node: Node,
    id_: str = "",
    weight: Value | None = None,
) -> Part:
    """The Part of a component with these settings, located at a node."""
    return Part(
        kind=registered.kind,
        use=use,
        id=id_,
        weight=weight if weight is not None else Value(1),
        settings=settings,
        plugin=registered.plugin,
        mark=node.mark,
        locate=functools.partial(locate, node),
        version=registered.owner.version,
        bundled=registered.owner.is_bundled,
    )


DEFAULT_MARK = Mark("default")


def _default_node(raw: object) -> Node:
    """The node of a default value: a name, a mapping with `use`, a list or a scalar."""
    if isinstance(raw, str):
        return Node(Written.make(raw, DEFAULT_MARK, Path()), DEFAULT_MARK)
    if isinstance(raw, Mapping):
        return Node({str(key): _default_node(value) for key, value in raw.items()}, DEFAULT_MARK)
    if isinstance(raw, (list, tuple)):
        return Node([_default_node(item) for item in raw], DEFAULT_MARK)
    return Node(raw, DEFAULT_MARK)


def _use(node: Node) -> str | None:
    use = node.get("use")
    return str(use.value) if use is not None and isinstance(use.value, str) else None
