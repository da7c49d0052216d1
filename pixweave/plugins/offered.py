"""Reads what a plugin's hooks return: components, recipes, presets, models and commands."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pixweave.errors import PluginError, indefinite
from pixweave.hookspecs import CONTENT_HOOKS, HOOKS, OUTCOME_HOOK
from pixweave.plugins.plugin import Offer, Plugin, RegisteredComponent, existing_file
from pixweave.plugins.rules import check_component

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_FILE_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]*")
_MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

OFFERED_MODELS: dict[str, Mapping[str, Any]] = {}
"""The catalogue entries of the plugins of this process, by full name; the model store reads it."""


def read_components(module: Any, plugin: Plugin) -> Iterator[RegisteredComponent]:
    """The components that the hooks of a plugin return; PluginError if one is invalid."""
    for kind, hook in HOOKS.items():
        where = f"{hook}() of plugin '{plugin.name}'"
        for name, component in _returned(module, hook, where, "Component").items():
            _check_name(name, _NAME, where, "lower case letters, digits and _")
            if not isinstance(component, str):
                check_component(kind, name, component, where)
            yield RegisteredComponent(kind, name, component, plugin)


def read_content(module: Any, plugin: Plugin) -> None:
    """Set what else a plugin brings; PluginError if something is invalid."""
    for hook in CONTENT_HOOKS:
        kind = hook.removeprefix("register_")
        where = f"{hook}() of plugin '{plugin.name}'"
        pattern, allowed, read = _READERS[kind]
        for name, value in _returned(module, hook, where, _WORDS[kind]).items():
            _check_name(name, pattern, where, allowed)
            getattr(plugin, kind).append(Offer(name, plugin, read(value, where, name)))
    OFFERED_MODELS.update({offer.full_name: offer.value for offer in plugin.models})
    plugin.after_run = getattr(module, OUTCOME_HOOK, None)


def _returned(module: Any, hook: str, where: str, word: str) -> dict[Any, Any]:
    function = getattr(module, hook, None)
    returned = {} if function is None else function()
    if not isinstance(returned, dict):
        raise PluginError(
            f"{where} must return {{name: {word}}}, "
            f"it returned {indefinite(type(returned).__name__)}"
        )
    return returned


def _check_name(name: Any, pattern: re.Pattern[str], where: str, allowed: str) -> None:
    if not isinstance(name, str) or not pattern.fullmatch(name):
        raise PluginError(f"{where}: {name!r} is not a valid name; use {allowed}")


def _model(value: Any, where: str, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise PluginError(f"{where}: '{name}' must be a mapping with 'about' and 'files'")
    return value


def _command(value: Any, where: str, name: str) -> Any:
    is_path = isinstance(value, str) and re.fullmatch(r"[\w.]+:\w+", value)
    if not is_path and not hasattr(value, "make_context"):
        raise PluginError(
            f"{where}: '{name}' must be a click command or the import path 'module:command', "
            f"not {value!r}"
        )
    return value


_WORDS = {"recipes": "path", "presets": "path", "models": "entry", "commands": "command"}
_FILES = (_FILE_NAME, "lower case letters, digits, '_', '-' and '.'", existing_file)
_READERS: dict[str, tuple[re.Pattern[str], str, Callable[[Any, str, str], Any]]] = {
    "recipes": _FILES,
    "presets": _FILES,
    "models": (_MODEL_NAME, "letters, digits, '.', '_' and '-'", _model),
    "commands": (_FILE_NAME, "lower case letters, digits, '_', '-' and '.'", _command),
}
