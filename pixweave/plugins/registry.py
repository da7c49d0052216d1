"""Plugins: all loaded plugins, and the lookup of what they offer by name.

Of two plugins that offer one name the bundled one keeps it, so that no installation changes what a
recipe means; `plugin/name` names the other. A name of two plugins that are not bundled must be
written in full.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pluggy
from pydantic import ValidationError

from pixweave import hookspecs
from pixweave.borders.guard import Guard, component_name, is_raised_by_code
from pixweave.component import Component
from pixweave.errors import (
    PartError,
    PluginError,
    RunError,
    did_you_mean,
    indefinite,
    nearest_name,
)
from pixweave.hookspecs import API, HOOKS, Outcome
from pixweave.plugins.offered import read_components, read_content
from pixweave.plugins.plugin import BUNDLED, Offer, Plugin, RegisteredComponent
from pixweave.plugins.plugin_files import digest, import_file, origin_of, plugin_files, plugin_name
from pixweave.plugins.rules import check_hooks, describe_failure
from pixweave.plugins.settings_error import describe_settings_error


class Plugins:
    """The loaded plugins. A broken plugin is kept with its reason and does not affect others."""

    def __init__(self) -> None:
        self._pm = pluggy.PluginManager("pixweave")
        self._pm.add_hookspecs(hookspecs)
        self.loaded: dict[str, Plugin] = {}
        self.without: tuple[str, ...] = ()
        self._folders: list[str] = []
        self._added: dict[str, str] = {}
        self._entry_points = False

    @classmethod
    def of(cls, source: Mapping[str, Any]) -> Plugins:
        """The plugins of another process, from its `source()`."""
        plugins = cls.discover(source["folders"], source["without"], source["entry_points"])
        for name, place in source["added"].items():
            module, _, qualname = place.partition(":")
            imported = importlib.import_module(module)
            target = functools.reduce(getattr, filter(None, qualname.split(".")), imported)
            plugins.add(target, name)
        return plugins

    def source(self) -> dict[str, Any]:
        """Plain data from which `Plugins.of` loads the same plugins, on a machine that has them."""
        for name, place in self._added.items():
            if not place:
                raise PluginError(
                    f"plugin '{name}' is an object of this process, which workers cannot import; "
                    "put it into a file, and pass its folder with --plugins-dir"
                )
        return {
            "folders": self._folders,
            "without": list(self.without),
            "added": self._added,
            "entry_points": self._entry_points,
        }

    @classmethod
    def discover(
        cls,
        folders: str | Path | Iterable[str | Path] = (),
        without: str | Iterable[str] = (),
        entry_points: bool = True,
    ) -> Plugins:
        """Load all installed plugins and all plugin files in `folders`, except those in `without`.

        A folder may also be a single .py file. Raises PluginError if one does not exist; broken
        plugins are kept in `broken`, unless PIXWEAVE_STRICT is set: then their error is raised.
        """
        plugins = cls()
        folders = [folders] if isinstance(folders, (str, Path)) else folders
        without = [without] if isinstance(without, str) else without
        plugins.without, plugins._entry_points = tuple(without), entry_points
        if entry_points:
            for point in sorted(importlib.metadata.entry_points(group="pixweave")):
                origin, version = origin_of(point.dist)
                plugin = Plugin(point.name, origin, functools.partial(str, version))
                plugins._load(plugin, point.load)
        for folder in folders:
            plugins._folders.append(os.path.abspath(folder))
            for path in plugin_files(Path(folder)):
                plugin = Plugin(plugin_name(path), str(path), functools.partial(digest, path))
                plugins._load(plugin, functools.partial(import_file, path))
        return plugins

    def add(self, module: Any, name: str, origin: str = "added") -> Plugin:
        """Register a module or an object with hook functions; PluginError if it is invalid."""
        plugin = self._register(module, Plugin(name, origin))
        self._added[name] = _import_path(module)
        return plugin

    def offers(self, kind: str) -> dict[str, RegisteredComponent]:
        """The components of a kind by their bare names, without those that need the full name."""
        found = {name: _first(claims) for name, claims in self._claims(kind).items()}
        return {name: registered for name, registered in found.items() if registered is not None}

    def claims(self, kind: str, name: str) -> list[RegisteredComponent]:
        """All components of a kind with that bare name or full name, the bundled one first."""
        plugin, _, short = name.rpartition("/")
        found = self._claims(kind).get(short, [])
        return [each for each in found if not plugin or each.plugin == plugin]

    def written(self, registered: RegisteredComponent) -> str:
        """How a recipe writes a component: by its bare name if that means it, else in full."""
        first = _first(self._claims(registered.kind)[registered.name])
        return registered.name if first is registered else registered.full_name

    def find(self, kind: str, name: str) -> RegisteredComponent:
        """The component `name` or `plugin/name`.

        Raises LookupError(message, hint) if it is unknown, or if two plugins register it and
        neither is bundled.
        """
        found = self.claims(kind, name)
        if first := _first(found):
            return first
        if found:
            names = " and ".join(f"'{registered.plugin}'" for registered in found)
            message = f"{kind} '{name}' is registered by the plugins {names}"
            raise LookupError(message, f"write '{found[0].full_name}', or use --without")
        raise LookupError(f"{kind} '{name}' is not known", self._hint(kind, name))

    def get(self, kind: str, name: object) -> RegisteredComponent | None:
        """As `find`; None if it is unknown or unclear."""
        try:
            return self.find(kind, name) if isinstance(name, str) else None
        except LookupError:
            return None

    def named_component(self, kind: str, entry: Mapping[str, Any]) -> tuple[Component, str]:
        """A component from `use` and its settings, and its name in errors; as `component`."""
        component = self.component(kind, entry)
        plugin = self.find(kind, entry["use"]).plugin
        return component, component_name(kind, entry["use"], plugin)

    def component(self, kind: str, entry: Mapping[str, Any]) -> Component:
        """A component from a mapping of `use` and its settings, for kinds used by commands.

        Raises PluginError if the name is unknown, RunError if a setting is invalid.
        """
        try:
            registered = self.find(kind, entry["use"])
        except LookupError as error:
            message, hint = (*error.args, "")[:2]
            raise PluginError(f"{message}; {hint}" if hint else str(message)) from None
        try:
            return registered.component(**{k: v for k, v in entry.items() if k != "use"})
        except ValidationError as error:
            raise RunError(describe_settings_error(registered, error)) from None

    def exporter_for(self, suffix: str) -> RegisteredComponent:
        """The exporter for files with that extension, a bundled one first.

        Raises LookupError(message, hint) if there is none, or if there are several.
        """
        known: dict[str, list[RegisteredComponent]] = {}
        self.import_all("exporter")
        for claims in self._claims("exporter").values():
            for registered in claims:
                for extension in registered.component.suffixes:
                    known.setdefault(extension, []).append(registered)
        found = known.get(suffix, [])
        bundled = [registered for registered in found if registered.owner.is_bundled]
        if bundled or len(found) == 1:
            return (bundled or found)[0]
        if found:
            names = " and ".join(f"'{registered.full_name}'" for registered in found)
            message = f"'{suffix}' files are written by the exporters {names}"
            raise LookupError(message, f"add 'use: {found[0].full_name}'")
        raise LookupError(f"no exporter writes '{suffix}' files", did_you_mean(suffix, known))

    def imported(self, kind: str) -> dict[str, RegisteredComponent]:
        """As `offers`, with every component imported; a plugin that fails becomes a broken one."""
        self.import_all(kind)
        return self.offers(kind)

    def import_all(self, kind: str = "") -> None:
        """Import the components that are given by import path; mark plugins that fail as broken."""
        for plugin in self.loaded.values():
            had_torch = "torch" in sys.modules
            try:
                for offer in plugin.offers:
                    if kind in ("", offer.kind):
                        _ = offer.component
            except PluginError as error:
                plugin.offers, plugin.broken = [], str(error)
            plugin.heavy |= not had_torch and "torch" in sys.modules

    def clashes(self) -> dict[str, list[str]]:
        """The names of components that several plugins offer: `loss/vivid` -> full names."""
        return {
            f"{kind}/{name}": [registered.full_name for registered in claims]
            for kind in HOOKS
            for name, claims in self._claims(kind).items()
            if len(claims) > 1
        }

    def is_clear(self, kind_and_name: str) -> bool:
        """Whether the bare name of a clash, `loss/vivid`, means the first of its components."""
        kind, _, name = kind_and_name.partition("/")
        return name in self.offers(kind)

    def content(self, kind: str) -> dict[str, Offer]:
        """The `recipes`, `presets`, `models` or `commands` of all plugins.

        Each by its full name, and by its bare name if no other plugin has it too.
        """
        offers = [offer for plugin in self.loaded.values() for offer in getattr(plugin, kind)]
        names = [offer.name for offer in offers]
        bare = {offer.name: offer for offer in offers if names.count(offer.name) == 1}
        return {**bare, **{offer.full_name: offer for offer in offers}}

    def after_run(self, outcome: Outcome) -> list[str]:
        """Call the hook `after_run` of every plugin; a warning for each one that fails."""
        warnings: list[str] = []
        for plugin in self.loaded.values():
            if plugin.after_run is None:
                continue
            try:
                with Guard(f"after_run() of plugin '{plugin.name}'", warnings.append):
                    plugin.after_run(outcome)
            except Exception as error:  # it never changes how the run ended
                warnings.append(str(error))
        return warnings

    @property
    def broken(self) -> dict[str, str]:
        """The reason why each broken plugin failed to load, by name."""
        return {p.name: p.broken for p in self.loaded.values() if p.broken}

    def _claims(self, kind: str) -> dict[str, list[RegisteredComponent]]:
        claims: dict[str, list[RegisteredComponent]] = {}
        for plugin in sorted(self.loaded.values(), key=lambda plugin: not plugin.is_bundled):
            for registered in plugin.offers:
                if registered.kind == kind:
                    claims.setdefault(registered.name, []).append(registered)
        return claims

    def _hint(self, kind: str, name: str) -> str:
        claims = self._claims(kind)
        for other in HOOKS:
            if other != kind and name in self._claims(other):
                return f"it is {indefinite(other)}, not {indefinite(kind)}"
        for plugin, reason in self.broken.items():
            if name in plugin:
                return f"the plugin '{plugin}' failed to load: {reason}"
        hint = did_you_mean(name, claims)
        if self.broken and nearest_name(name, claims) is None:
            hint += f" (broken plugins: {', '.join(self.broken)}; see `pixweave plugins`)"
        return hint

    def _register(self, module: Any, plugin: Plugin) -> Plugin:
        name = plugin.name
        if name in self.loaded and not self.loaded[name].broken:
            raise PluginError(
                f"plugin '{name}' ({plugin.origin}) has the same name as a plugin already loaded "
                f"from {self.loaded[name].origin}; rename one or use --without {name}"
            )
        check_hooks(module, name)
        self._pm.register(module, name)
        try:
            plugin.api = _whole(getattr(module, "api", API))
            plugin.offers = list(read_components(module, plugin))
            read_content(module, plugin)
            if not plugin.is_bundled:  # the tests complete those
                for registered in plugin.offers:
                    registered.complete()
        except BaseException:
            self._pm.unregister(name=name)
            raise
        self.loaded[name] = plugin
        return plugin

    def _load(self, plugin: Plugin, load: Any) -> None:
        if plugin.name in self.without:
            return
        had_torch = "torch" in sys.modules
        try:
            if plugin.origin == BUNDLED:
                self._register(load(), plugin)
            else:
                self._load_guarded(plugin, load)
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # must not affect the others
            if isinstance(error, KeyboardInterrupt) and not is_raised_by_code(error):
                raise
            if os.environ.get("PIXWEAVE_STRICT"):
                raise
            name, origin = plugin.name, plugin.origin
            if name in self.loaded:  # keep the working plugin under its name
                name = f"{name} ({origin})"
            reason = str(error) if isinstance(error, PluginError) else describe_failure(error)
            self.loaded[name] = Plugin(name, origin, plugin.find_version, broken=reason)
            return
        plugin.heavy = not had_torch and "torch" in sys.modules

    def _load_guarded(self, plugin: Plugin, load: Any) -> None:
        """Import and register a plugin that is not ours; it must leave the process as it is."""
        try:
            with Guard(f"plugin '{plugin.name}'"):
                self._register(load(), plugin)
        except PartError as error:
            self.loaded.pop(plugin.name, None)
            if isinstance(error.__cause__, Exception):
                raise error.__cause__ from None
            raise


def _first(claims: list[RegisteredComponent]) -> RegisteredComponent | None:
    """The one that a bare name means: the bundled one, or the only one; None if it is unclear."""
    if claims and (claims[0].owner.is_bundled or len(claims) == 1):
        return claims[0]
    return None


def _whole(api: Any) -> int:
    return api if isinstance(api, int) else API


def _import_path(module: Any) -> str:
    """The import path of a module, or of a class as `module:Class`; '' for any other object."""
    qualname = getattr(module, "__qualname__", "")
    return f"{module.__module__}:{qualname}" if qualname else str(getattr(module, "__name__", ""))
