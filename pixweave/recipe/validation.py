"""Validate settings with pydantic, and report errors with readable messages and locations."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from pixweave.borders.guard import Guard
from pixweave.component import Settings
from pixweave.errors import (
    InvalidValue,
    Issue,
    Mark,
    PartError,
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
    """The name in messages of what is validated, e.g. `loss 'saturation'` or `crops`."""

    name: str
    prefix: str = ""
    """Prefix of core settings, which are named by their path: 'crops.count'."""
    core: bool = False
    also: tuple[str, ...] = ()
    """Keys that are allowed in addition to the settings: id, weight."""

    def setting(self, path: tuple[Any, ...]) -> str:
        """The name of a setting in messages: `'grid' of generator 'pixel'`, or `'crops.count'`."""
        dotted = ".".join(str(p) for p in path)
        return f"'{self.prefix}{dotted}'" if self.core else f"'{dotted}' of {self.name}"


GENERAL = Subject("the recipe", core=True)


class Validator:
    """Validates nodes as settings, and collects all issues."""

    def __init__(self, plugins: Plugins) -> None:
        self.plugins = plugins
        self.issues: list[Issue] = []

    def fail(self, where: Mark, message: str, hint: str = "") -> None:
        """Add an issue."""
        self.issues.append(Issue.at(where, message, hint))

    def settings(self, model: type[S], node: Node, subject: Subject) -> S | None:
        """The settings of a mapping node; None, and issues are added, if it is invalid."""
        try:
            settings = _validated(model, node, subject)
        except ValidationError as error:
            self._explain(error, model, node, subject)
            return None
        except PartError as error:  # a plugin's own validator broke
            self.fail(node.mark, str(error), "this is a bug in the plugin")
            return None
        found = list(_coerced(node, settings, ()))
        for path, at, message, hint in found:
            self.fail(at, f"{subject.setting(path)} {message}", hint)
        return None if found else settings

    def _explain(
        self, error: ValidationError, model: type[Settings], node: Node, subject: Subject
    ) -> None:
        failures = [_PydanticError.of(e, node) for e in error.errors(include_url=False)]
        for path in {f.path: None for f in failures}:
            here = [f for f in failures if f.path == path]
            deeper = any(len(f.path) > len(path) and f.path[: len(path)] == path for f in failures)
            if deeper and all(f.kind in _TYPES for f in here):
                continue  # another branch of the union got further
            self._explain_one(here, model, subject)

    def _explain_one(
        self, here: list[_PydanticError], model: type[Settings], subject: Subject
    ) -> None:
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
            self._explain_message(first, subject)
        else:
            expected, hint = _expected(here, model)
            self.fail(first.node.mark, f"{subject.setting(first.path)} {expected}", hint)

    def _explain_message(self, failure: _PydanticError, subject: Subject) -> None:
        """Messages of a validator of the whole model often start with the name of the setting."""
        message, hint = _message_of(failure, subject)
        node, error = failure.node, failure.context.get("error")
        first = str(error).split(" ")[0].strip("':,")
        if not failure.path and not isinstance(error, InvalidValue) and first in node:
            node, message = node[first], message.partition(": ")[2]
            message = f"{subject.setting((first,))} {message.removeprefix(first).lstrip()}"
        self.fail(node.mark, message, hint)

    def unknown(self, key: str, model: type[BaseModel], subject: Subject) -> tuple[str, str]:
        """Message and hint for an unknown key."""
        fields = [field for field in (*model.model_fields, *subject.also) if field != key]
        name = f"'{subject.name}'" if subject.core else subject.name
        message = f"{name} has no setting '{key}'"
        near = difflib.get_close_matches(key, fields, n=1, cutoff=0.8)
        elsewhere = "" if near else self.home_of(key, subject)
        return message, elsewhere or did_you_mean(key, fields)

    def home_of(self, key: str, subject: Subject) -> str:
        """A hint where an unknown key belongs; '' if nowhere."""
        if key in top_level.TOP_LEVEL and subject is not GENERAL:
            return f"'{key}' belongs at the top level of the recipe"
        for name, model in (("crops", CropSettings), ("optimizer", OptimizerSettings)):
            if key in model.model_fields and subject.name != name:
                return f"'{key}' is a setting of '{name}'"
        for kind in top_level.KINDS.values():
            for name, registered in self.plugins.imported(kind).items():
                if key in registered.component.model_fields and subject.name != f"{kind} '{name}'":
                    return f"'{key}' is a setting of {kind} '{name}'"
        return ""


def _validated(model: type[S], node: Node, subject: Subject) -> S:
    """The settings; ValidationError if they are invalid, PartError if a validator breaks."""
    with Guard(f"a validator of {subject.name}", thorough=False):
        try:
            return model.model_validate(node.plain())
        except ValidationError as error:
            invalid = error
    raise invalid


@dataclass(frozen=True)
class _PydanticError:
    """One error of pydantic, with its path and node in the recipe."""

    kind: str
    path: tuple[Any, ...]
    node: Node
    error: Mapping[str, Any]

    @classmethod
    def of(cls, error: Any, node: Node) -> _PydanticError:
        path: tuple[Any, ...] = ()
        for step in error["loc"]:
            inside = step in node or (
                isinstance(node.value, list) and isinstance(step, int) and step < len(node.value)
            )
            if inside:  # else it names a branch of a union
                node, path = node[step], (*path, step)
        if error["type"] == "missing":
            path = (*path, error["loc"][-1])
        return cls(error["type"], path, node, error)

    @property
    def context(self) -> Mapping[str, Any]:
        return self.error.get("ctx") or {}


def _missing(failure: _PydanticError, model: type[BaseModel], subject: Subject) -> tuple[str, str]:
    name = failure.path[-1]
    if isinstance(name, int):
        parent = failure.path[:-1]
        return f"{subject.setting(parent)} {_items(failure, model, parent)}", ""
    info = model.model_fields.get(str(name)) if len(failure.path) == 1 else None
    about = f" ({info.description})" if info and info.description else ""
    inside = "" if len(failure.path) == 1 else f" in {subject.setting(failure.path[:-1])}"
    return f"{subject.name} needs '{name}'{inside}", f"add '{name}: ...'{about}"


def _inside(model: type[BaseModel], path: tuple[Any, ...]) -> type[BaseModel]:
    """The model of the settings at a path within a model; the model itself if not found."""
    for step in path:
        info = model.model_fields.get(str(step))
        kinds = (info.annotation, *typing.get_args(info.annotation)) if info else ()
        found = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if len(found) != 1:
            return model
        model = found[0]
    return model


def _items(failure: _PydanticError, model: type[BaseModel], path: tuple[Any, ...]) -> str:
    count = len(failure.node.value) if isinstance(failure.node.value, list) else 0
    length = _tuple_length(model.model_fields[path[0]].annotation) if len(path) == 1 else None
    return f"must have {length} items, not {count}" if length else f"has too few items: {count}"


def _tuple_length(annotation: Any) -> int | None:
    """The length of the fixed-length tuple in a type, or None."""
    args = typing.get_args(annotation)
    if typing.get_origin(annotation) is tuple:
        return None if Ellipsis in args else len(args)
    found = {length for arg in args if (length := _tuple_length(arg))}
    return found.pop() if len(found) == 1 else None


def _message_of(failure: _PydanticError, subject: Subject) -> tuple[str, str]:
    """Message and hint of a validator's error; an InvalidValue continues the setting's name."""
    error = failure.context.get("error")
    name = subject.setting(failure.path) if failure.path else subject.name
    if isinstance(error, InvalidValue):
        return f"{name} {error.message}", error.hint
    return f"{name}: {error}", ""


def _expected(here: list[_PydanticError], model: type[BaseModel]) -> tuple[str, str]:
    """`must be ..., not ...` and a hint, from all union branches that rejected the value."""
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
        bounds = str(bounds_of(info)) if info and len(first.path) == 1 else ""
        return f"must be {bounds or f'{word} {first.context[key]:g}'}, not {shown}", ""
    if first.kind in ("too_short", "too_long"):
        return _length(first, model), ""
    if first.kind == "string_too_short":
        return "must not be empty", ""
    return _plain(first.error["msg"]), ""


def _length(failure: _PydanticError, model: type[BaseModel]) -> str:
    is_short = failure.kind == "too_short"
    limit = failure.context["min_length" if is_short else "max_length"]
    count = len(failure.node.value)
    info = model.model_fields.get(str(failure.path[0]))
    exact = _tuple_length(info.annotation) if info and len(failure.path) == 1 else None
    expected = exact or f"at {'least' if is_short else 'most'} {limit}"
    return f"must have {expected} items, not {count}"


def _choices(failure: _PydanticError) -> list[str]:
    expected = str(failure.context.get("expected", ""))
    parts = expected.replace(" or ", ", ").split(",")
    return [part.strip().strip("'") for part in parts if part.strip()]


def _plain(message: str) -> str:
    return message.replace("Input should", "must").replace("Value should", "must")


def _quote(node: Node) -> str:
    return "put it in quotes" if isinstance(node.value, (int, float)) else ""


_NEARLY_BOOL = ("yes", "no", "on", "off", "y", "n", "t", "f")
_Found = tuple[tuple[Any, ...], Mark, str, str]


def _coerced(node: Node, result: Any, path: tuple[Any, ...]) -> Iterator[_Found]:
    """Issues for scalars that pydantic silently converted: '3' to 3, true to 1."""
    if isinstance(node.value, dict):
        for key, child in node.items():
            inner = result.get(key) if isinstance(result, Mapping) else getattr(result, key, None)
            yield from _coerced(child, inner, (*path, key))
    elif isinstance(node.value, list):
        short = getattr(result, "short", {}).get(list)
        if short is not None:  # a section that is written as the list of one of its settings
            result = getattr(result, short)
        if isinstance(result, (list, tuple)) and len(result) == len(node.value):
            for i, (child, inner) in enumerate(zip(node.value, result, strict=True)):
                yield from _coerced(child, inner, (*path, i))
    elif message := _changed(node.value, result):
        quoted = isinstance(node.value, str) and node.value.lower() not in _NEARLY_BOOL
        hint = "remove the quotes" if quoted else ""
        yield path, node.mark, message, hint


def _changed(raw: Any, result: Any) -> str:
    if isinstance(result, bool) and not isinstance(raw, bool) and raw is not None:
        return f"must be true or false, not {describe_value(raw)}"
    number = isinstance(result, (int, float)) and not isinstance(result, bool)
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
