"""Validate settings with pydantic, and say what is wrong in plain words at the right place."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from pixweave.component import Settings
from pixweave.errors import (
    InvalidValue,
    Issue,
    Mark,
    describe_value,
    did_you_mean,
    nearest_name,
)
from pixweave.recipe import top_level
from pixweave.recipe.nodes import Node
from pixweave.recipe.sections import CropSettings, OptimizerSettings
from pixweave.timeline.values import bounds_of

if TYPE_CHECKING:
    from pixweave.plugins import Plugins

S = TypeVar("S", bound=Settings)

_TYPES = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "dict_type": "a mapping",
    "none_required": "null",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
_RANGES = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}


@dataclass(frozen=True)
class Subject:
    """How messages name what is being validated, e.g. `loss 'saturation'` or `crops`."""

    name: str
    prefix: str = ""
    """Set for the core's own settings, which are named by their path: 'crops.count'."""
    core: bool = False
    also: tuple[str, ...] = ()
    """Names that the recipe adds to the settings: id, weight."""

    def setting(self, path: tuple[Any, ...]) -> str:
        """The name of a setting, with an article of context."""
        dotted = ".".join(str(p) for p in path)
        return f"'{self.prefix}{dotted}'" if self.core else f"'{dotted}' of {self.name}"


GENERAL = Subject("the recipe", core=True)


class Validator:
    """Turns nodes into settings, and notes every issue."""

    def __init__(self, plugins: Plugins) -> None:
        self.plugins = plugins
        self.issues: list[Issue] = []

    def fail(self, where: Mark, message: str, hint: str = "") -> None:
        """Note a issue."""
        self.issues.append(Issue.at(where, message, hint))

    def settings(self, model: type[S], node: Node, subject: Subject) -> S | None:
        """The settings that a mapping node holds; None, with issues noted, when it is wrong."""
        try:
            made = model.model_validate(node.plain())
        except ValidationError as error:
            self._explain(error, model, node, subject)
            return None
        except Exception as error:  # a plugin's own validator broke
            self.fail(
                node.mark,
                f"{subject.name} cannot check its settings: {type(error).__name__}: {error}",
                "this is a fault of the plugin",
            )
            return None
        found = list(_coerced(node, made, ()))
        for path, at, message, hint in found:
            self.fail(at, f"{subject.setting(path)} {message}", hint)
        return None if found else made

    def _explain(
        self, error: ValidationError, model: type[Settings], node: Node, subject: Subject
    ) -> None:
        faults = [_Fault.of(e, node) for e in error.errors(include_url=False)]
        for path in {f.path: None for f in faults}:
            here = [f for f in faults if f.path == path]
            deeper = any(len(f.path) > len(path) and f.path[: len(path)] == path for f in faults)
            if deeper and all(f.kind in _TYPES for f in here):
                continue  # another branch of the union got further
            self._explain_one(here, model, subject)

    def _explain_one(self, here: list[_Fault], model: type[Settings], subject: Subject) -> None:
        first = here[0]
        if first.kind == "extra_forbidden":
            inner = _inside(model, first.path[:-1])
            if inner is not model:
                subject = Subject(subject.setting(first.path[:-1]))
            message, hint = self.unknown(str(first.path[-1]), inner, subject)
            self.fail(first.node.place, message, hint)
        elif first.kind == "missing":
            self.fail(first.node.mark, *_missing(first, model, subject))
        elif first.kind in ("value_error", "assertion_error"):
            self._explain_said(first, subject)
        else:
            wanted, hint = _wanted(here, model)
            self.fail(first.node.mark, f"{subject.setting(first.path)} {wanted}", hint)

    def _explain_said(self, fault: _Fault, subject: Subject) -> None:
        """A validator of the whole model often begins its sentence with the setting it means."""
        message, hint = _said(fault, subject)
        node, error = fault.node, fault.context.get("error")
        first = str(error).split(" ")[0].strip("':,")
        if not fault.path and not isinstance(error, InvalidValue) and first in node:
            node, message = node[first], message.partition(": ")[2]
            message = f"{subject.setting((first,))} {message.removeprefix(first).lstrip()}"
        self.fail(node.mark, message, hint)

    def unknown(self, key: str, model: type[BaseModel], subject: Subject) -> tuple[str, str]:
        """Message and hint for a key that is not a setting here."""
        fields = [*model.model_fields, *subject.also]
        name = f"'{subject.name}'" if subject.core else subject.name
        message = f"{name} has no setting '{key}'"
        near = difflib.get_close_matches(key, fields, n=1, cutoff=0.8)
        elsewhere = "" if near else self.home_of(key, subject)
        return message, elsewhere or did_you_mean(key, fields)

    def home_of(self, key: str, subject: Subject) -> str:
        """Where a key that is wrong here would be right; '' if nowhere."""
        if key in top_level.TOP_LEVEL and subject is not GENERAL:
            return f"'{key}' belongs at the top level of the recipe"
        for name, model in (("crops", CropSettings), ("optimizer", OptimizerSettings)):
            if key in model.model_fields and subject.name != name:
                return f"'{key}' is a setting of '{name}'"
        for kind in top_level.KINDS.values():
            for name, offer in self.plugins.offers(kind).items():
                if key in offer.component.model_fields and subject.name != f"{kind} '{name}'":
                    return f"'{key}' is a setting of {kind} '{name}'"
        return ""


@dataclass(frozen=True)
class _Fault:
    """One pydantic error: where it is in the recipe and what kind it is."""

    kind: str
    path: tuple[Any, ...]
    node: Node
    error: Mapping[str, Any]

    @classmethod
    def of(cls, error: Any, node: Node) -> _Fault:
        path: tuple[Any, ...] = ()
        for step in error["loc"]:
            inside = step in node or (
                isinstance(node.value, list) and isinstance(step, int) and step < len(node.value)
            )
            if inside:  # else it is pydantic's name for a branch of a union
                node, path = node[step], (*path, step)
        if error["type"] == "missing":
            path = (*path, error["loc"][-1])
        return cls(error["type"], path, node, error)

    @property
    def context(self) -> Mapping[str, Any]:
        return self.error.get("ctx") or {}


def _missing(fault: _Fault, model: type[BaseModel], subject: Subject) -> tuple[str, str]:
    name = fault.path[-1]
    if isinstance(name, int):
        return f"{subject.setting(fault.path[:-1])} {_items(fault, model, fault.path[:-1])}", ""
    info = model.model_fields.get(str(name)) if len(fault.path) == 1 else None
    about = f" ({info.description})" if info and info.description else ""
    inside = "" if len(fault.path) == 1 else f" in {subject.setting(fault.path[:-1])}"
    return f"{subject.name} needs '{name}'{inside}", f"add '{name}: ...'{about}"


def _inside(model: type[BaseModel], path: tuple[Any, ...]) -> type[BaseModel]:
    """The model of the settings at a path within a model; the model itself if there is none."""
    for step in path:
        info = model.model_fields.get(str(step))
        kinds = (info.annotation, *typing.get_args(info.annotation)) if info else ()
        found = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if len(found) != 1:
            return model
        model = found[0]
    return model


def _items(fault: _Fault, model: type[BaseModel], path: tuple[Any, ...]) -> str:
    count = len(fault.node.value) if isinstance(fault.node.value, list) else 0
    length = _tuple_length(model.model_fields[path[0]].annotation) if len(path) == 1 else None
    return f"must have {length} items, not {count}" if length else f"has too few items: {count}"


def _tuple_length(annotation: Any) -> int | None:
    """The length of the fixed tuple that a type allows, if it allows just one."""
    args = typing.get_args(annotation)
    if typing.get_origin(annotation) is tuple:
        return None if Ellipsis in args else len(args)
    found = {length for arg in args if (length := _tuple_length(arg))}
    return found.pop() if len(found) == 1 else None


def _said(fault: _Fault, subject: Subject) -> tuple[str, str]:
    """What a validator said: InvalidValue continues the setting's name, others are sentences."""
    error = fault.context.get("error")
    name = subject.setting(fault.path) if fault.path else subject.name
    if isinstance(error, InvalidValue):
        return f"{name} {error.message}", error.hint
    return f"{name}: {error}", ""


def _wanted(here: list[_Fault], model: type[BaseModel]) -> tuple[str, str]:
    """`must be ..., not ...` and a hint, from all branches that refused the same value."""
    first = here[0]
    shown = describe_value(first.node.value)
    choices = [c for f in here if f.kind in ("literal_error", "enum") for c in _choices(f)]
    types = list(dict.fromkeys(_TYPES[f.kind] for f in here if f.kind in _TYPES))
    if choices:
        one_of = f"one of {', '.join(choices)}" if len(choices) > 1 else f"'{choices[0]}'"
        types = [*types, one_of]
    if types:
        near = nearest_name(str(first.node.value), choices)
        quote = _quote(first.node) if "text" in types else ""
        hint = f"did you mean '{near}'?" if near else quote
        return f"must be {' or '.join(types)}, not {shown}", hint
    if first.kind in _RANGES:
        info = model.model_fields.get(str(first.path[0]))
        word, key = _RANGES[first.kind]
        whole = str(bounds_of(info)) if info and len(first.path) == 1 else ""
        return f"must be {whole or f'{word} {first.context[key]:g}'}, not {shown}", ""
    if first.kind in ("too_short", "too_long"):
        return _length(first, model), ""
    if first.kind == "string_too_short":
        return "must not be empty", ""
    return _plain(first.error["msg"]), ""


def _length(fault: _Fault, model: type[BaseModel]) -> str:
    few = fault.kind == "too_short"
    limit, count = fault.context["min_length" if few else "max_length"], len(fault.node.value)
    info = model.model_fields.get(str(fault.path[0]))
    exact = _tuple_length(info.annotation) if info and len(fault.path) == 1 else None
    wanted = exact or f"at {'least' if few else 'most'} {limit}"
    return f"must have {wanted} items, not {count}"


def _choices(fault: _Fault) -> list[str]:
    said = str(fault.context.get("expected", ""))
    parts = said.replace(" or ", ", ").split(",")
    return [part.strip().strip("'") for part in parts if part.strip()]


def _plain(message: str) -> str:
    return message.replace("Input should", "must").replace("Value should", "must")


def _quote(node: Node) -> str:
    return "put it in quotes" if isinstance(node.value, (int, float)) else ""


_NEARLY_BOOL = ("yes", "no", "on", "off", "y", "n", "t", "f")
_Found = tuple[tuple[Any, ...], Mark, str, str]


def _coerced(node: Node, made: Any, path: tuple[Any, ...]) -> Iterator[_Found]:
    """Scalars that pydantic silently turned into another type: '3' into 3, true into 1."""
    if isinstance(node.value, dict):
        for key, child in node.items():
            inner = made.get(key) if isinstance(made, Mapping) else getattr(made, key, None)
            yield from _coerced(child, inner, (*path, key))
    elif isinstance(node.value, list):
        if isinstance(made, (list, tuple)) and len(made) == len(node.value):
            for i, (child, inner) in enumerate(zip(node.value, made, strict=True)):
                yield from _coerced(child, inner, (*path, i))
    elif message := _changed(node.value, made):
        quoted = isinstance(node.value, str) and node.value.lower() not in _NEARLY_BOOL
        hint = "remove the quotes" if quoted else ""
        yield path, node.mark, message, hint


def _changed(raw: Any, made: Any) -> str:
    if isinstance(made, bool) and not isinstance(raw, bool) and raw is not None:
        return f"must be true or false, not {describe_value(raw)}"
    number = isinstance(made, (int, float)) and not isinstance(made, bool)
    if number and isinstance(raw, bool):
        return f"must be a number, not {str(raw).lower()}"
    if number and isinstance(raw, str) and _numeric(raw):
        return f"must be a number, not the text '{raw}'"
    return ""


def _numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
