"""Discover and load plugins, and look up their components by name."""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy
from pydantic import ValidationError

from pixweave import hookspecs
from pixweave.borders.guard import component_name
from pixweave.component import Component
from pixweave.errors import PluginError, RunError, did_you_mean, indefinite, nearest_name

HOOKS = {
    name.removeprefix("register_").removesuffix("es" if name.endswith("sses") else "s"): name
    for name in vars(hookspecs)
    if name.startswith("register_")
}
"""Kind of part -> name of the hook that registers it, in the order of `hookspecs`."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")


class RegisteredComponent:
    """One component and the plugin that it came from."""

    def __init__(self, kind: str, name: str, source: type[Component] | str, plugin: str) -> None:
        self.kind, self.name, self.plugin = kind, name, plugin
        self._source = source

    @functools.cached_property
    def component(self) -> type[Component]:
        """The class; one given as `module:Class` is imported now. PluginError if it is invalid."""
        if not isinstance(self._source, str):
            return self._source
        where = f"{HOOKS[self.kind]}() of plugin '{self.plugin}'"
        imported = _import_component(self.name, self._source, where)
        return _completed(_checked(self.kind, self.name, imported, where), where)

    def complete(self) -> None:
        """Build the validator of a class that is imported already; PluginError if it is invalid."""
        if not isinstance(self._source, str):
            _completed(self._source, f"{HOOKS[self.kind]}() of plugin '{self.plugin}'")


@dataclass
class Plugin:
    """One plugin: its origin, its components, or why it is broken."""

    name: str
    origin: str
    """`bundled`, the name of the installed package, or the path of the plugin file."""
    version: str = ""
    offers: list[RegisteredComponent] = field(default_factory=list)
    broken: str = ""
    heavy: bool = False
    """True if importing the module imports torch, which slows every command down."""


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
        folders: Iterable[str | Path] = (),
        without: Iterable[str] = (),
        entry_points: bool = True,
    ) -> Plugins:
        """Load all installed plugins and all plugin files in `folders`, except those in `without`.

        Raises PluginError if a folder does not exist; broken plugins are kept in `broken`.
        """
        plugins = cls()
        plugins.without, plugins._entry_points = tuple(without), entry_points
        if entry_points:
            for point in sorted(importlib.metadata.entry_points(group="pixweave")):
                origin, version = _origin(point.dist)
                plugins._load(point.name, origin, point.load, version)
        for folder in folders:
            plugins._folders.append(os.path.abspath(folder))
            for path in _plugin_files(Path(folder)):
                name = path.parent.name if path.name == "__init__.py" else path.stem
                plugins._load(name, str(path), functools.partial(_import_file, path))
        return plugins

    def add(self, module: Any, name: str, origin: str = "added") -> Plugin:
        """Register a module or an object with hook functions; PluginError if it is invalid."""
        plugin = Plugin(name, origin)
        if name in self.loaded and not self.loaded[name].broken:
            raise PluginError(
                f"plugin '{name}' ({origin}) has the same name as a plugin already loaded from "
                f"{self.loaded[name].origin}; rename one or use --without {name}"
            )
        _check_hooks(module, name)
        self._pm.register(module, name)
        try:
            plugin.offers = list(self._offers_of(module, name))
            if origin != "bundled":  # the tests complete those
                for registered in plugin.offers:
                    registered.complete()
        except Exception:
            self._pm.unregister(name=name)
            raise
        self.loaded[name] = plugin
        if origin == "added":
            self._added[name] = _import_path(module)
        return plugin

    def offers(self, kind: str) -> dict[str, RegisteredComponent]:
        """All components of a kind by name, without names that two plugins register."""
        return {name: claims[0] for name, claims in self._claims(kind).items() if len(claims) == 1}

    def find(self, kind: str, name: str) -> RegisteredComponent:
        """The component `name` or `plugin/name`.

        Raises LookupError(message, hint) if it is unknown, or if two plugins register it.
        """
        claims = self._claims(kind)
        if "/" in name:
            plugin, _, short = name.partition("/")
            for registered in claims.get(short, ()):
                if registered.plugin == plugin:
                    return registered
        candidates = claims.get(name, [])
        if len(candidates) == 1:
            return candidates[0]
        if candidates:
            names = " and ".join(f"'{registered.plugin}'" for registered in candidates)
            message = f"{kind} '{name}' is registered by the plugins {names}"
            raise LookupError(message, f"write '{candidates[0].plugin}/{name}', or use --without")
        raise LookupError(f"{kind} '{name}' is not known", self._hint(kind, name, claims))

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
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            raise RunError(
                f"'{name}' of {kind} '{registered.name}' is invalid: {first['msg'].lower()}; "
                f"see `pixweave show {registered.name}`"
            ) from None

    def exporter_for(self, suffix: str) -> RegisteredComponent:
        """The exporter for files with that extension; LookupError(message, hint) if none."""
        known: dict[str, RegisteredComponent] = {}
        for registered in self.imported("exporter").values():
            for extension in registered.component.suffixes:
                known.setdefault(extension, registered)
        if suffix in known:
            return known[suffix]
        raise LookupError(f"no exporter writes '{suffix}' files", did_you_mean(suffix, known))

    def imported(self, kind: str) -> dict[str, RegisteredComponent]:
        """The same, with every component imported; a plugin that fails becomes a broken one."""
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

    @property
    def broken(self) -> dict[str, str]:
        """The reason why each broken plugin failed to load, by name."""
        return {p.name: p.broken for p in self.loaded.values() if p.broken}

    def _claims(self, kind: str) -> dict[str, list[RegisteredComponent]]:
        claims: dict[str, list[RegisteredComponent]] = {}
        for plugin in self.loaded.values():
            for registered in plugin.offers:
                if registered.kind == kind:
                    claims.setdefault(registered.name, []).append(registered)
        return claims

    def _hint(self, kind: str, name: str, claims: dict[str, list[RegisteredComponent]]) -> str:
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

    def _load(self, name: str, origin: str, load: Any, version: str = "") -> None:
        if name in self.without:
            return
        had_torch = "torch" in sys.modules
        try:
            plugin = self.add(load(), name, origin)
        except Exception as error:  # a broken plugin must not affect the others
            if os.environ.get("PIXWEAVE_STRICT"):
                raise
            reason = str(error) if isinstance(error, PluginError) else _reason(error)
            if name in self.loaded:  # keep the working plugin under its name
                name = f"{name} ({origin})"
            self.loaded[name] = Plugin(name, origin, version, broken=reason)
            return
        plugin.version = version
        plugin.heavy = not had_torch and "torch" in sys.modules

    def _offers_of(self, module: Any, plugin: str) -> Iterator[RegisteredComponent]:
        for kind, hook in HOOKS.items():
            function = getattr(module, hook, None)
            if function is None:
                continue
            returned = function()
            if not isinstance(returned, dict):
                raise PluginError(
                    f"{hook}() of plugin '{plugin}' must return {{name: Component}}, "
                    f"it returned {indefinite(type(returned).__name__)}"
                )
            for name, component in returned.items():
                where = f"{hook}() of plugin '{plugin}'"
                if not isinstance(name, str) or not _NAME.fullmatch(name):
                    raise PluginError(
                        f"{where}: {name!r} is not a valid name; use lower case letters, digits "
                        "and _"
                    )
                if not isinstance(component, str):
                    _checked(kind, name, component, where)
                yield RegisteredComponent(kind, name, component, plugin)


def _import_path(module: Any) -> str:
    """The import path of a module, or of a class as `module:Class`; '' for any other object."""
    qualname = getattr(module, "__qualname__", "")
    return f"{module.__module__}:{qualname}" if qualname else str(getattr(module, "__name__", ""))


def _import_component(name: str, path: str, where: str) -> Any:
    """The object at the import path `module:Class`; PluginError if it cannot be imported."""
    module, _, attribute = path.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except Exception as error:  # third-party modules may raise anything
        reason = _reason(error)
        raise PluginError(f"{where}: cannot import '{name}' from '{path}': {reason}") from error


def _checked(kind: str, name: str, component: Any, where: str) -> type[Component]:
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
    return component


def _completed(component: type[Component], where: str) -> type[Component]:
    """The component with its validator built, which pydantic defers to the first use."""
    try:
        component.model_rebuild()
    except Exception as error:  # pydantic raises many kinds for wrong types and constraints
        raise PluginError(f"{where}: {component.__name__}: {_reason(error)}") from error
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


def _check_hooks(module: Any, plugin: str) -> None:
    """Raise PluginError for a hook that pluggy would silently ignore."""
    marked = []
    for name, value in inspect.getmembers(module, inspect.isroutine):
        if name in HOOKS.values() and not hasattr(value, "pixweave_impl"):
            raise PluginError(
                f"{name}() of plugin '{plugin}' is not marked; put @pixweave.hookimpl above it"
            )
        if hasattr(value, "pixweave_impl"):
            marked.append(name)
            if name not in HOOKS.values():
                hint = did_you_mean(name, HOOKS.values())
                raise PluginError(f"plugin '{plugin}' has an unknown hook {name}(); {hint}")
            if arguments := list(inspect.signature(value).parameters):
                names = ", ".join(arguments)
                raise PluginError(f"{name}({names}) of plugin '{plugin}' must take no arguments")
    if not marked:
        hooks = ", ".join(HOOKS.values())
        raise PluginError(f"plugin '{plugin}' has no hook; a plugin needs at least one of {hooks}")


def _reason(error: BaseException) -> str:
    """One line with the error, and the file and line where it was raised."""
    text = str(error).strip().splitlines()
    frames = [f for f in _frames(error) if f[0] != __file__ and "importlib" not in f[0]]
    place = f" ({Path(frames[-1][0]).name}:{frames[-1][1]})" if frames else ""
    return f"{type(error).__name__}: {text[0] if text else ''}{place}".replace(": (", " (")


def _frames(error: BaseException) -> Iterator[tuple[str, int]]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next


def _plugin_files(folder: Path) -> Sequence[Path]:
    if not folder.is_dir():
        raise PluginError(f"the plugin folder '{folder}' does not exist; see --plugins-dir")
    files = [p for p in folder.glob("*.py") if not p.name.startswith("_")]
    return sorted([*files, *folder.glob("[!_]*/__init__.py")])


def _import_file(path: Path) -> ModuleType:
    stem = path.parent.name if path.name == "__init__.py" else path.stem
    name = f"pixweave_plugin_{stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = (
        module  # needed before it runs: annotations are resolved through sys.modules
    )
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@functools.cache
def _origin(dist: importlib.metadata.Distribution | None) -> tuple[str, str]:
    """Where a plugin came from, and its version; parsed once for each installed package."""
    if dist is None:
        return "unknown", ""
    return ("bundled" if dist.name == "pixweave" else dist.name), dist.version
