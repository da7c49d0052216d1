"""Find the plugins, load them one by one, and know who offers which name."""

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

    def __init__(self, kind: str, name: str, offered: Any, plugin: str) -> None:
        self.kind, self.name, self.plugin = kind, name, plugin
        self._offered = offered
        if not isinstance(offered, str):
            _ = self.component  # what is wrong with it is said now

    @functools.cached_property
    def component(self) -> type[Component]:
        """The component, imported when it is first asked for; PluginError if it is wrong."""
        said = f"{HOOKS[self.kind]}() of plugin '{self.plugin}'"
        made = self._offered
        if isinstance(made, str):
            made = _import_component(self.name, made, said)
        checked = _checked(self.name, made, said)
        if self.kind == "trainer":
            _check_trainer(checked, said)
        return checked


@dataclass
class Plugin:
    """One plugin: where it came from, what it offers, or why it is broken."""

    name: str
    origin: str
    """`bundled`, the name of the installed package, or the file it was read from."""
    version: str = ""
    offers: list[RegisteredComponent] = field(default_factory=list)
    broken: str = ""
    heavy: bool = False
    """True when importing the module imported torch, which slows every list down."""


class Plugins:
    """The plugins at hand. A broken one is kept with its reason and hurts nothing else."""

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
        """The plugins that another process had, from its `source()`."""
        plugins = cls.discover(source["folders"], source["without"], source["entry_points"])
        for name, place in source["added"].items():
            module, _, inside = place.partition(":")
            made = importlib.import_module(module)
            plugins.add(functools.reduce(getattr, filter(None, inside.split(".")), made), name)
        return plugins

    def source(self) -> dict[str, Any]:
        """What `Plugins.of` finds the same plugins by, on a machine that has them: plain data."""
        for name, place in self._added.items():
            if not place:
                raise PluginError(
                    f"the plugin '{name}' is an object of this process, which a worker has not; "
                    "put it into a file, and its folder into --plugins-dir"
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
        """Load every installed plugin and every plugin file in `folders`, except `without`."""
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
        """Register a module or any object with hook functions; raise PluginError if it is wrong."""
        plugin = Plugin(name, origin)
        if name in self.loaded and not self.loaded[name].broken:
            raise PluginError(
                f"plugin '{name}' ({origin}) has the name of a plugin already loaded from "
                f"{self.loaded[name].origin}; rename one or use --without {name}"
            )
        _check_hooks(module, name)
        self._pm.register(module, name)
        try:
            plugin.offers = list(self._offers_of(module, name))
        except Exception:
            self._pm.unregister(name=name)
            raise
        self.loaded[name] = plugin
        if origin == "added":
            self._added[name] = _place(module)
        return plugin

    def offers(self, kind: str) -> dict[str, RegisteredComponent]:
        """All components of a kind by name; a name that two plugins claim is left out."""
        return {name: claims[0] for name, claims in self._claims(kind).items() if len(claims) == 1}

    def find(self, kind: str, name: str) -> RegisteredComponent:
        """The component of that name, or `plugin/name`; LookupError(message, hint) if none."""
        claims = self._claims(kind)
        if "/" in name:
            plugin, _, short = name.partition("/")
            for offer in claims.get(short, ()):
                if offer.plugin == plugin:
                    return offer
        found = claims.get(name, [])
        if len(found) == 1:
            return found[0]
        if found:
            names = " and ".join(f"'{offer.plugin}'" for offer in found)
            message = f"{kind} '{name}' is offered by the plugins {names}"
            raise LookupError(message, f"write '{found[0].plugin}/{name}', or use --without")
        raise LookupError(f"{kind} '{name}' is not known", self._hint(kind, name, claims))

    def component(self, kind: str, entry: Mapping[str, Any]) -> Component:
        """A component of a kind that recipes do not have, from `use` and its settings.

        Raises PluginError where there is none of that name, RunError where a setting is wrong.
        """
        try:
            offer = self.find(kind, entry["use"])
        except LookupError as error:
            message, hint = (*error.args, "")[:2]
            raise PluginError(f"{message}; {hint}" if hint else str(message)) from None
        try:
            return offer.component(**{k: v for k, v in entry.items() if k != "use"})
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            raise RunError(
                f"'{name}' of {kind} '{offer.name}' is wrong: {first['msg'].lower()}; "
                f"see `pixweave show {offer.name}`"
            ) from None

    def exporter_for(self, suffix: str) -> RegisteredComponent:
        """The exporter that writes files with that ending; LookupError(message, hint) if none."""
        known: dict[str, RegisteredComponent] = {}
        for offer in self.offers("exporter").values():
            for ending in offer.component.suffixes:
                known.setdefault(ending, offer)
        if suffix in known:
            return known[suffix]
        raise LookupError(f"no exporter writes '{suffix}' files", did_you_mean(suffix, known))

    def import_all(self) -> None:
        """Import every component, also those of which only the place is known; find broken ones."""
        for plugin in self.loaded.values():
            had_torch = "torch" in sys.modules
            try:
                for offer in plugin.offers:
                    _ = offer.component
            except PluginError as error:
                plugin.offers, plugin.broken = [], str(error)
            plugin.heavy |= not had_torch and "torch" in sys.modules

    @property
    def broken(self) -> dict[str, str]:
        """Name of each broken plugin -> the reason."""
        return {p.name: p.broken for p in self.loaded.values() if p.broken}

    def _claims(self, kind: str) -> dict[str, list[RegisteredComponent]]:
        claims: dict[str, list[RegisteredComponent]] = {}
        for plugin in self.loaded.values():
            for offer in plugin.offers:
                if offer.kind == kind:
                    claims.setdefault(offer.name, []).append(offer)
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
        except Exception as error:  # whatever a stranger's module raises must not hurt the others
            if os.environ.get("PIXWEAVE_STRICT"):
                raise
            reason = str(error) if isinstance(error, PluginError) else _reason(error)
            if name in self.loaded:  # keep the one that works under its name
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
                if not isinstance(name, str) or not _NAME.fullmatch(name):
                    raise PluginError(
                        f"{hook}() of plugin '{plugin}': {name!r} is no name; use lower case "
                        "letters, digits and _"
                    )
                yield RegisteredComponent(kind, name, component, plugin)


def _place(module: Any) -> str:
    """Where a module, or a class in one, is imported from; '' for an object, which is nowhere."""
    inside = getattr(module, "__qualname__", "")
    return f"{module.__module__}:{inside}" if inside else str(getattr(module, "__name__", ""))


def _import_component(name: str, place: str, said: str) -> Any:
    """What stands at `module:Class`; PluginError if it cannot be imported."""
    module, _, inside = place.partition(":")
    try:
        return getattr(importlib.import_module(module), inside)
    except Exception as error:  # whatever a stranger's module raises
        raise PluginError(f"{said}: '{name}' is at '{place}': {_reason(error)}") from error


def _checked(name: str, component: Any, said: str) -> type[Component]:
    """The component, or PluginError naming the rule that it breaks."""
    if not (inspect.isclass(component) and issubclass(component, Component)):
        raise PluginError(
            f"{said}: '{name}' must be a subclass of pixweave.Component, not {component!r}"
        )
    if not (component.__doc__ or "").strip():
        raise PluginError(f"{said}: {component.__name__} has no docstring; say what it does")
    if component.build is Component.build:
        methods = [name for name, value in vars(component).items() if callable(value)]
        near = nearest_name("build", methods)
        hint = f"; rename '{near}' to 'build'" if near else ""
        raise PluginError(f"{said}: {component.__name__} has no build(self, run){hint}")
    if list(inspect.signature(component.build).parameters) != ["self", "run"]:
        raise PluginError(f"{said}: {component.__name__}.build must take exactly (self, run)")
    for reserved in component.reserved & set(component.model_fields):
        raise PluginError(
            f"{said}: {component.__name__} has a setting '{reserved}', which belongs to the recipe"
        )
    return component


def _check_trainer(component: type[Component], said: str) -> None:
    """Raise PluginError for a trainer that `pixweave train` cannot run."""
    if "steps" not in component.model_fields:
        raise PluginError(f"{said}: {component.__name__} has no setting 'steps', its updates")
    for reserved in {"data", "seed"} & set(component.model_fields):
        raise PluginError(
            f"{said}: {component.__name__} has a setting '{reserved}', which every trainer has"
        )
    if not component.suffix.startswith("."):
        raise PluginError(
            f"{said}: {component.__name__} has no `suffix: ClassVar[str]`, the ending of its files"
        )


def _check_hooks(module: Any, plugin: str) -> None:
    """Raise PluginError for a hook that pluggy would silently pass over."""
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
                raise PluginError(f"{name}({names}) of plugin '{plugin}' must take no argument")
    if not marked:
        hooks = ", ".join(HOOKS.values())
        raise PluginError(f"plugin '{plugin}' has no hook; a plugin has one or more of {hooks}")


def _reason(error: BaseException) -> str:
    """One line that says what went wrong and in which line of whose file."""
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
    sys.modules[name] = module  # before it runs: annotations are resolved through sys.modules
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
