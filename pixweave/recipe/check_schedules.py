"""Every value over time of a recipe, tried at the steps of the run before anything is built."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache

from pydantic import BaseModel

from pixweave.component import Settings
from pixweave.errors import did_you_mean
from pixweave.recipe.nodes import Node
from pixweave.recipe.part_reader import Part
from pixweave.recipe.top_level import Core
from pixweave.recipe.validation import Subject, Validator
from pixweave.timeline.expressions import CLOCK, CONSTANTS, Wrong
from pixweave.timeline.values import Bounds, Moment, Value, bounds_of

Found = tuple[Value, Bounds, str, Node]
"""A value, its range, how messages name it, and the node to blame."""


def check_values(
    check: Validator,
    tree: Node,
    head: Core,
    sections: Mapping[str, Settings | None],
    parts: Mapping[str, tuple[Part, ...]],
) -> None:
    """Note every value that has no number, or one out of range, at some step of the run."""

    @lru_cache(maxsize=4096)  # shared by all values, so that each input is worked out once a step
    def moment(step: int) -> Moment:
        return Moment(step, head.steps, head.fps, head.inputs)

    broken = _check_inputs(check, tree, head, moment)
    for value, bounds, name, where in _all(tree, sections, parts):
        if value.names & broken:
            continue  # said once, at the input
        try:
            _check_names(value, head.inputs)
            value.check(moment, bounds)
        except Wrong as wrong:
            check.fail(where.mark, f"{name} {wrong.message}", wrong.hint)


def _check_inputs(
    check: Validator, tree: Node, head: Core, moment: Callable[[int], Moment]
) -> set[str]:
    """The names of the inputs that are wrong; each may use only those written above it."""
    broken: set[str] = set()
    earlier: list[str] = []
    for name, value in head.inputs.items():
        try:
            if not value.names & broken:
                _check_names(value, earlier)
                value.check(moment, Bounds())
        except Wrong as wrong:
            broken.add(name)
            later = value.names & set(head.inputs) - set(earlier)
            hint = "an input can use only those above it" if later else wrong.hint
            check.fail(tree["inputs"][name].mark, f"'inputs.{name}' {wrong.message}", hint)
        if value.names & broken:
            broken.add(name)
        earlier.append(name)
    return broken


def _check_names(value: Value, inputs: Iterable[str]) -> None:
    for name in sorted(value.names - set(CLOCK) - set(inputs)):
        hint = did_you_mean(name, [*CLOCK, *CONSTANTS, *inputs])
        raise Wrong(f"uses '{name}', which is not known", hint)


def _all(
    tree: Node, sections: Mapping[str, Settings | None], parts: Mapping[str, tuple[Part, ...]]
) -> Iterator[Found]:
    for key, model in sections.items():
        yield from _within(model, tree.get(key) or tree, Subject(key, f"{key}.", core=True))
    for part in (part for group in parts.values() for part in group):
        subject = Subject(f"{part.kind} '{part.use}'")
        where = part.node.get("weight") or part.node
        yield part.weight, Bounds(), subject.setting(("weight",)), where
        yield from _within(part.settings, part.node, subject)


def _within(
    model: BaseModel | None, node: Node, subject: Subject, path: tuple[str, ...] = ()
) -> Iterator[Found]:
    for name, info in type(model).model_fields.items() if model is not None else ():
        where = node.get(name) or node
        value = getattr(model, name)
        items = enumerate(value) if isinstance(value, (list, tuple)) else ()
        for i, item in [(None, value), *items]:
            at = where
            if i is not None and isinstance(where.value, list) and i < len(where.value):
                at = where[i]
            here = (*path, name) if i is None else (*path, name, str(i))
            if isinstance(item, Value):
                yield item, bounds_of(info), subject.setting(here), at
            elif isinstance(item, BaseModel):
                yield from _within(item, at, subject, here)
