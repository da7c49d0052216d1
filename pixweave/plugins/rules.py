"""Checks of what a plugin registers; each broken rule is a PluginError that says what to do."""

from __future__ import annotations

import inspect
import re
from types import ModuleType
from typing import Any

from pixweave.borders.guard import first_line, plugin_place
from pixweave.component import Component
from pixweave.errors import InvalidValue, PluginError, did_you_mean, indefinite, nearest_name
from pixweave.hookspecs import API, CONTENT_HOOKS, HOOKS, OUTCOME_HOOK
from pixweave.timeline.values import Moment, Value

_UNTYPED = re.compile(
    r"(?:non-annotated attribute was detected: `|Field ')(\w+)(?: =|' requires a type annotation)"
)
EVERY_HOOK = (*HOOKS.values(), *CONTENT_HOOKS, OUTCOME_HOOK)
"""The name of every hook that a plugin may have."""


def check_component(kind: str, name: str, component: Any, where: str) -> type[Component]:
    """The component; raises PluginError with the rule that it breaks."""
    if not (inspect.isclass(component) and issubclass(component, Component)):
        raise PluginError(
            f"{where}: '{name}' must be a subclass of pixweave.Component, not {component!r}"
        )
    if not (component.__doc__ or "").strip():
        raise PluginError(
            f"{where}: {component.__name__} has no docstring; add one that says what it does"
        )
    if component.build is Component.build:
        methods = [name for name, value in vars(component).items() if callable(value)]
        near = nearest_name("build", methods)
        hint = f"; rename '{near}' to 'build'" if near else ""
        raise PluginError(f"{where}: {component.__name__} has no build(self, run){hint}")
    if list(inspect.signature(component.build).parameters) != ["self", "run"]:
        raise PluginError(f"{where}: {component.__name__}.build must take exactly (self, run)")
    for reserved in component.reserved & set(component.model_fields):
        raise PluginError(
            f"{where}: {component.__name__} has a setting '{reserved}', a name reserved for recipes"
        )
    if kind == "trainer":
        _check_trainer(component, where)
    if kind == "generator":
        _check_natural_rate(component, where)
    _check_abilities(kind, component, where)
    return component


def _check_natural_rate(component: type[Component], where: str) -> None:
    """Raise PluginError for a learning rate that is none."""
    try:
        Value(component.natural_rate).at(Moment(0, 2, 1.0, {}))
    except InvalidValue as error:
        raise PluginError(f"{where}: {component.__name__}.natural_rate {error.message}") from None


ABILITIES = {
    "generator": ("start_from", "latent", "alpha", "svg", "without_losses"),
    "filter": ("stateless",),
    "stage": ("draw", "input_optional"),
}
"""The abilities that a component of a kind may declare in `can`."""


def _check_abilities(kind: str, component: type[Component], where: str) -> None:
    """Raise PluginError for an ability that does not exist, as if it were misspelt."""
    known = ABILITIES.get(kind, ())
    for ability in sorted(set(component.can) - set(known)):
        hint = did_you_mean(ability, known) or f"{indefinite(kind)} declares no abilities"
        raise PluginError(f"{where}: {component.__name__}.can has '{ability}'; {hint}")


def complete(component: type[Component], where: str) -> type[Component]:
    """The component with its validator built, which pydantic defers to the first use."""
    try:
        component.model_rebuild()
    except Exception as error:  # pydantic raises many kinds for wrong types and constraints
        raise PluginError(f"{where}: {component.__name__}: {describe_failure(error)}") from error
    return component


def _check_trainer(component: type[Component], where: str) -> None:
    """Raise PluginError for a trainer that `pixweave train` cannot run."""
    if "steps" not in component.model_fields:
        raise PluginError(
            f"{where}: {component.__name__} has no setting 'steps', the number of updates"
        )
    for reserved in {"data", "seed"} & set(component.model_fields):
        raise PluginError(
            f"{where}: {component.__name__} has a setting '{reserved}', which all trainers have"
        )
    if not component.suffix.startswith("."):
        raise PluginError(
            f"{where}: {component.__name__} has no `suffix: ClassVar[str]`, its file extension"
        )


def check_hooks(module: Any, plugin: str) -> None:
    """Raise PluginError for a hook that pluggy would silently ignore, or for another API."""
    check_api(module, plugin)
    marked = []
    for name, value in inspect.getmembers(module, inspect.isroutine):
        if name in EVERY_HOOK and not hasattr(value, "pixweave_impl"):
            raise PluginError(
                f"{name}() of plugin '{plugin}' is not marked; put @pixweave.hookimpl above it"
            )
        if hasattr(value, "pixweave_impl"):
            marked.append(name)
            _check_hook(name, value, plugin)
    if not marked:
        hooks = ", ".join(EVERY_HOOK)
        raise PluginError(f"plugin '{plugin}' has no hook; a plugin needs at least one of {hooks}")


def _check_hook(name: str, function: Any, plugin: str) -> None:
    if name not in EVERY_HOOK:
        hint = did_you_mean(name, EVERY_HOOK)
        raise PluginError(f"plugin '{plugin}' has an unknown hook {name}(); {hint}")
    arguments = list(inspect.signature(function).parameters)
    wanted = ["outcome"] if name == OUTCOME_HOOK else []
    if arguments != wanted:
        must = f"take exactly ({', '.join(wanted)})" if wanted else "take no arguments"
        raise PluginError(f"{name}({', '.join(arguments)}) of plugin '{plugin}' must {must}")


def check_api(module: Any, plugin: str) -> None:
    """Raise PluginError if the module says that it was written for another API of pixweave."""
    wanted = getattr(module, "api", API)
    if isinstance(wanted, ModuleType) or callable(wanted):
        return  # something else of that name
    if not isinstance(wanted, int) or isinstance(wanted, bool):
        raise PluginError(
            f"plugin '{plugin}' has api = {wanted!r}; it must be a whole number: api = {API}"
        )
    if wanted > API:
        raise PluginError(
            f"plugin '{plugin}' needs api {wanted} of pixweave, and this pixweave has api {API}; "
            f"install a newer pixweave, or an older version of the plugin"
        )
    if wanted < API:
        raise PluginError(
            f"plugin '{plugin}' was written for api {wanted} of pixweave, and this pixweave has "
            f"api {API}; install a newer version of the plugin"
        )


def describe_failure(error: BaseException) -> str:
    """One line with the error, and the file and line of the plugin where it was raised."""
    text = first_line(error)
    if found := _UNTYPED.search(text):
        name = found[1]
        text = (
            f"'{name}' has no type; write '{name}: float = ...' for a setting of that type, or "
            f"'{name}: ClassVar = ...'"
        )
        return f"{text}{plugin_place(error)}"
    return f"{type(error).__name__}: {text}{plugin_place(error)}".replace(": (", " (")
