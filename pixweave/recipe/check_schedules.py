"""Check every value over time of a recipe at the steps of the run, before anything is built."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache, partial
from typing import NamedTuple

from pydantic import BaseModel

from pixweave.component import Part, Settings
from pixweave.errors import InvalidValue, Mark, UnknownName, did_you_mean
from pixweave.recipe.nodes import Node
from pixweave.recipe.part_reader import locate
from pixweave.recipe.top_level import GeneralSettings
from pixweave.recipe.validation import Subject, Validator
from pixweave.timeline.expressions import CLOCK, CONSTANTS
from pixweave.timeline.values import Bounds, Moment, Value, bounds_of


class ScheduledValue(NamedTuple):
    """A value over time, its range, its name in messages, and its source location."""

    value: Value
    bounds: Bounds
    name: str
    mark: Mark


def check_values(
    check: Validator,
    tree: Node,
    general: GeneralSettings,
    sections: Mapping[str, Settings | None],
    parts: Iterable[Part],
) -> None:
    """Add an issue for each value that is undefined or out of range at a step of the run."""

    @lru_cache(maxsize=4096)  # shared by all values: each input is evaluated once per step
    def moment(step: int) -> Moment:
        return Moment(step, general.steps, general.fps, general.inputs)

    broken = _check_inputs(check, tree, general, moment)
    for scheduled in _all_values(tree, sections, parts):
        if scheduled.value.names & broken:
            continue  # reported once, at the input
        try:
            _check_names(scheduled.value, general.inputs)
            scheduled.value.check(moment, scheduled.bounds)
        except InvalidValue as error:
            check.fail(scheduled.mark, f"{scheduled.name} {error.message}", error.hint)


def _check_inputs(
    check: Validator, tree: Node, general: GeneralSettings, moment: Callable[[int], Moment]
) -> set[str]:
    """The names of the invalid inputs; an input may use only those written above it."""
    broken: set[str] = set()
    earlier: list[str] = []
    for name, value in general.inputs.items():
        try:
            if not value.names & broken:
                _check_names(value, earlier)
                value.check(moment, Bounds())
        except InvalidValue as error:
            broken.add(name)
            later = value.names & set(general.inputs) - set(earlier)
            hint = "an input can use only the inputs above it" if later else error.hint
            check.fail(tree["inputs"][name].mark, f"'inputs.{name}' {error.message}", hint)
        if value.names & broken:
            broken.add(name)
        earlier.append(name)
    return broken


def _check_names(value: Value, inputs: Iterable[str]) -> None:
    for name in sorted(value.names - set(CLOCK) - set(inputs)):
        hint = did_you_mean(name, [*CLOCK, *CONSTANTS, *inputs])
        raise UnknownName(f"uses the unknown name '{name}'", hint)


def _all_values(
    tree: Node, sections: Mapping[str, Settings | None], parts: Iterable[Part]
) -> Iterator[ScheduledValue]:
    for key, settings in sections.items():
        if settings is not None:
            node = tree.get(key) or tree
            subject = Subject(key, f"{key}.", core=True)
            yield from _of_settings(settings, partial(locate, node), subject)
    for part in parts:
        yield from _of_part(part)


def _of_part(part: Part) -> Iterator[ScheduledValue]:
    subject = Subject(part.name)
    yield ScheduledValue(part.weight, Bounds(), subject.setting(("weight",)), part.locate("weight"))
    yield from _of_settings(part.settings, part.locate, subject)


def _of_settings(
    settings: BaseModel,
    where: Callable[[str], Mark],
    subject: Subject,
    path: tuple[str, ...] = (),
) -> Iterator[ScheduledValue]:
    for name, info in type(settings).model_fields.items():
        value = getattr(settings, name)
        items = enumerate(value) if isinstance(value, (list, tuple)) else ()
        for i, item in [(None, value), *items]:
            here = (*path, name) if i is None else (*path, name, str(i))
            if isinstance(item, Value):
                mark = where(".".join(here))
                yield ScheduledValue(item, bounds_of(info), subject.setting(here), mark)
            elif isinstance(item, Part):
                yield from _of_part(item)
            elif isinstance(item, BaseModel):
                yield from _of_settings(item, where, subject, here)
