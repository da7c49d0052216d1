"""Plugin: one loaded plugin and what it offers. RegisteredComponent: one of its components."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixweave.component import Component
from pixweave.errors import PluginError
from pixweave.hookspecs import API, HOOKS
from pixweave.plugins.rules import check_component, complete, describe_failure

BUNDLED = "bundled"
"""The origin of the plugins that ship with pixweave."""


class RegisteredComponent:
    """One component and the plugin that it came from."""

    def __init__(self, kind: str, name: str, source: type[Component] | str, plugin: Plugin) -> None:
        self.kind, self.name, self.owner = kind, name, plugin
        self._source = source

    @property
    def plugin(self) -> str:
        """The name of its plugin."""
        return self.owner.name

    @property
    def full_name(self) -> str:
        """`plugin/name`, which names it whatever other plugins are installed."""
        return f"{self.plugin}/{self.name}"

    @functools.cached_property
    def component(self) -> type[Component]:
        """The class; one given as `module:Class` is imported now. PluginError if it is invalid."""
        if not isinstance(self._source, str):
            return self._source
        where = f"{HOOKS[self.kind]}() of plugin '{self.plugin}'"
        imported = import_object(self.name, self._source, where)
        return complete(check_component(self.kind, self.name, imported, where), where)

    def complete(self) -> None:
        """Build the validator of a class that is imported already; PluginError if it is invalid."""
        if not isinstance(self._source, str):
            complete(self._source, f"{HOOKS[self.kind]}() of plugin '{self.plugin}'")


@dataclass(frozen=True)
class Offer:
    """Something that a plugin brings besides components: a recipe, preset, model or command."""

    name: str
    plugin: Plugin
    value: Any

    @property
    def full_name(self) -> str:
        """`plugin/name`."""
        return f"{self.plugin.name}/{self.name}"


@dataclass
class Plugin:
    """One plugin: its origin, what it offers, or why it is broken."""

    name: str
    origin: str
    """`bundled`, the name of the installed package, or the path of the plugin file."""
    find_version: Callable[[], str] = field(default=lambda: "", repr=False)
    offers: list[RegisteredComponent] = field(default_factory=list)
    recipes: list[Offer] = field(default_factory=list)
    """The recipes that it brings; the value is the path of the file."""
    presets: list[Offer] = field(default_factory=list)
    models: list[Offer] = field(default_factory=list)
    """Entries of the model catalogue, as mappings."""
    commands: list[Offer] = field(default_factory=list)
    """Commands of the command line: click commands, or import paths `module:attribute`."""
    after_run: Callable[[Any], object] | None = None
    broken: str = ""
    heavy: bool = False
    """True if importing the module imports torch, which slows every command down."""
    api: int = API

    @property
    def is_bundled(self) -> bool:
        """Whether it ships with pixweave; its names then take precedence."""
        return self.origin == BUNDLED

    @functools.cached_property
    def version(self) -> str:
        """The version of its package; for a file or a folder `sha256:` and 16 digits; or ''."""
        return self.find_version()


def import_object(name: str, path: str, where: str) -> Any:
    """The object at the import path `module:attribute`; PluginError if it cannot be imported."""
    module, _, attribute = path.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # third-party modules may raise anything
        reason = describe_failure(error)
        raise PluginError(f"{where}: cannot import '{name}' from '{path}': {reason}") from error


def existing_file(path: Any, where: str, name: str) -> Path:
    """The path of a file that a plugin brings; PluginError if there is none."""
    found = Path(str(path))
    if not found.is_absolute() or not found.is_file():
        raise PluginError(
            f"{where}: '{name}' names '{path}', which is not an existing file with an absolute "
            "path; write Path(__file__).parent / 'name.yaml'"
        )
    return found
