"""The command `show`: describe a component, or a section of recipes such as `crops`."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

import click

from pixweave.cli import completion
from pixweave.errors import PluginError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from pixweave.plugins import Plugins, RegisteredComponent


@click.command()
@click.argument("name", default="", shell_complete=completion.shown_names)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> None:
    """Describe NAME, a component or a section of recipes such as crops, and its settings.

    If components of two kinds share a name, all of them are shown; `loss/NAME` selects one kind.
    Without NAME, all names are listed.
    """
    from pixweave.recipe.section_reader import sections

    plugins = ctx.obj.plugins()
    if not name:
        _list_names(plugins, as_json)
        return
    if name in sections():
        found: list[Any] = [_section_json(name)] if as_json else [describe_section(name)]
    elif as_json:
        found = [_component_json(registered, plugins) for registered in _named(plugins, name)]
    else:
        found = [describe(registered, plugins) for registered in _named(plugins, name)]
    click.echo(json.dumps(found, indent=2) if as_json else "\n\n".join(found))


def describe_section(name: str) -> str:
    """The help text of a section: heading, docstring, settings, an example."""
    from pixweave.recipe.section_reader import sections

    model = sections()[name]
    lines = [f"section {name}", "", inspect.cleandoc(model.__doc__ or ""), "", "settings:"]
    for setting, kind, default, help_ in settings_of(model):
        lines += [f"  {setting}: {kind} = {default}", f"      {help_}"]
    return "\n".join([*lines, "", "in a recipe:", f"  {SECTION_EXAMPLES[name]}"])


SECTION_EXAMPLES = {
    "recipe": "{title: fox, seed: 7, size: [320, 240], steps: 200, fps: 24}",
    "crops": "crops: {count: 32, zoomed: 0.5, turn: 15}",
    "optimizer": "optimizer: {use: adam, rate: {0: 0.1, end: 0.01}}",
    "start_from": "start_from: {image: photo.png, noise: 0.2}",
    "mask": "mask: {box: [0, 0.5, 1, 1], soften: 0.05}",
    "overlay": "overlay: {image: logo.png, every: 10, alpha: 0.3}",
}
"""A line for each section, as a recipe has it."""


def _section_json(name: str) -> dict[str, Any]:
    from pixweave.recipe.section_reader import sections

    model = sections()[name]
    return {
        "kind": "section",
        "name": name,
        "doc": inspect.cleandoc(model.__doc__ or ""),
        "schema": model.model_json_schema(),
        "example": SECTION_EXAMPLES[name],
    }


def _list_names(plugins: Plugins, as_json: bool) -> None:
    from pixweave.plugins import HOOKS
    from pixweave.recipe.section_reader import sections

    names = {
        kind: sorted(
            plugins.written(each)
            for plugin in plugins.loaded.values()
            for each in plugin.offers
            if each.kind == kind
        )
        for kind in HOOKS
    }
    listed = {
        "section": list(sections()),
        **{kind: found for kind, found in names.items() if found},
    }
    if as_json:
        click.echo(json.dumps(listed, indent=2))
        return
    width = max(map(len, listed))
    for kind, found in listed.items():
        click.echo(f"{kind:<{width}}  {', '.join(found)}")


def describe(registered: RegisteredComponent, plugins: Plugins | None = None) -> str:
    """The help text of one component: heading, docstring, settings, an example line.

    With `plugins`, the heading has the name that means it among them.
    """
    name = registered.name if plugins is None else plugins.written(registered)
    lines = [f"{registered.kind} {name}  (plugin {registered.plugin})", ""]
    lines += [inspect.cleandoc(registered.component.__doc__ or ""), "", "settings:"]
    for name, kind, default, help_ in settings(registered):
        lines += [f"  {name}: {kind} = {default}", f"      {help_}"]
    if not registered.component.model_fields:
        lines.append("  none")
    where = _WHERE.get(registered.kind, "in a recipe")
    return "\n".join([*lines, "", f"{where}:", f"  {example(registered, plugins)}"])


def settings(registered: RegisteredComponent) -> list[tuple[str, str, str, str]]:
    """The (name, type, default, help) of every setting of a component."""
    return settings_of(registered.component)


def settings_of(model: type[BaseModel]) -> list[tuple[str, str, str, str]]:
    """The (name, type, default, help) of every setting of a model."""
    from pixweave.component import part_settings

    rows = []
    schema = model.model_json_schema()
    # a component with short forms lists those first
    full = schema if "properties" in schema else schema["anyOf"][-1]
    parts = part_settings(model)
    for name, info in model.model_fields.items():
        kind = _type(full.get("properties", {})[name], schema.get("$defs", {}))
        value = info.get_default(call_default_factory=True)
        if name in parts:
            value = parts[name].default
        default = "required" if info.is_required() else _text(value)
        rows.append((name, kind, default, info.description or ""))
    return rows


def example(registered: RegisteredComponent, plugins: Plugins | None = None) -> str:
    """One line that uses the component: of a recipe, or a command for kinds used by commands.

    With `plugins`, it is called by the name that means it among them.
    """
    name = registered.name if plugins is None else plugins.written(registered)
    component = registered.component
    required = {
        setting: _flow(component.example.get(setting, "..."))
        for setting, info in component.model_fields.items()
        if info.is_required() or setting in component.example
    }
    if registered.kind == "trainer":
        sets = "".join(f" --set {setting}={value}" for setting, value in required.items())
        return f"pixweave train {name} DATA --out FILE{sets}"
    if registered.kind == "searcher":
        return f"pixweave search TEXT --searcher {name}"
    if registered.kind == "executor":
        return f"pixweave index DIR --executor {name}"
    if registered.kind == "exporter":
        return f"export: [{{{_export(registered, name, plugins)}}}]"
    parts = [f"{'do' if registered.kind == 'stage' else 'use'}: {name}"]
    parts += [f"{setting}: {value}" for setting, value in required.items()]
    for setting, info in component.model_fields.items():
        default = None if info.is_required() else info.get_default(call_default_factory=True)
        if len(parts) < 3 and setting not in required and default not in (None, (), [], ""):
            parts.append(f"{setting}: {_text(default)}")
    entry = f"{{{', '.join(parts)}}}"
    if registered.kind == "stage" and "draw" not in component.can:
        entry = f"generate, {entry}"
    form = _EXAMPLES.get(registered.kind) or f"{_PLURAL[registered.kind]}: [{{entry}}]"
    return form.format(entry=entry)


def _export(registered: RegisteredComponent, name: str, plugins: Plugins | None) -> str:
    """The entry of an exporter: `use` only if another one writes files with its extension."""
    suffix = next(iter(registered.component.suffixes), f".{registered.name}")
    file = "steps/" if suffix == "/" else f"picture{suffix}"
    try:
        first = plugins.exporter_for(suffix) if plugins is not None else registered
    except LookupError:
        first = None
    return f"file: {file}" if first is registered else f"use: {name}, file: {file}"


def _flow(value: Any) -> str:
    """A value as YAML in a flow mapping."""
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_flow, value))}]"
    return _text(value)


_WHERE = {
    **dict.fromkeys(("trainer", "searcher", "executor"), "on the command line"),
    **dict.fromkeys(("codec", "sampler"), "as a setting of another part"),
}
_EXAMPLES = {
    "generator": "generator: {entry}",
    "classifier": "stages: [generate, {{do: classify, classifier: {entry}}}]",
    "stage": "stages: [{entry}]",
    "codec": "codec: {entry}",
    "sampler": "sampler: {entry}",
}
_PLURAL = {
    "perceptor": "perceptors",
    "loss": "losses",
    "augmentation": "augmentations",
    "filter": "filters",
}


def _type(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """A JSON schema as a short text: `number 0..1`, `square | hex`, `list of text`."""
    if "x-type" in schema:
        return str(schema["x-type"])
    if "x-part" in schema:
        kind = str(schema["x-part"])
        return f"list of {kind} parts" if schema["type"] == "array" else f"{kind} part"
    if "$ref" in schema:
        return _type(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
    if "anyOf" in schema:
        types = [_type(s, definitions) for s in schema["anyOf"] if s.get("type") != "null"]
        if {"number", "text", "object"} <= {text.split()[0] for text in types}:
            numbers = [s for s in schema["anyOf"] if s.get("type") == "number"]
            return "number over time" + _range(numbers[0])
        return " | ".join(dict.fromkeys(types))
    if "enum" in schema:
        return " | ".join(str(v) for v in schema["enum"])
    if schema.get("type") == "array":
        items = schema.get("prefixItems") or [schema.get("items", {})]
        item_type = _type(items[0], definitions)
        if "prefixItems" in schema:
            return f"[{', '.join([item_type] * len(items))}]"
        return f"list of {item_type}"
    plain = {"boolean": "true | false", "string": "text"}
    name = str(schema.get("type", "any"))
    return plain.get(name, name) + _range(schema)


def _range(schema: dict[str, Any]) -> str:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is None and high is None:
        return ""
    return f" {'' if low is None else f'{low:g}'}..{'' if high is None else f'{high:g}'}"


def _text(value: Any) -> str:
    raw = getattr(value, "raw", value)
    if raw is None or raw == {}:
        return "none"
    if isinstance(raw, bool):
        return str(raw).lower()
    return f"[{', '.join(_text(v) for v in raw)}]" if isinstance(raw, tuple | list) else str(raw)


def _named(plugins: Plugins, name: str) -> list[RegisteredComponent]:
    from pixweave.plugins import HOOKS

    kind, _, rest = name.partition("/")
    kinds, short = ([kind], rest) if kind in HOOKS and rest else (list(HOOKS), name)
    found = [registered for k in kinds for registered in plugins.claims(k, short)]
    if found:
        return found
    from pixweave.errors import did_you_mean
    from pixweave.recipe.section_reader import sections

    names = [*sections(), *(o.name for k in HOOKS for o in plugins.offers(k).values())]
    for plugin, reason in plugins.broken.items():
        if name in plugin:
            raise PluginError(f"the plugin '{plugin}' is broken: {reason}")
    broken = f"; broken plugins: {', '.join(plugins.broken)}" if plugins.broken else ""
    raise PluginError(f"no component is named '{name}'; {did_you_mean(name, names)}{broken}")


def _component_json(registered: RegisteredComponent, plugins: Plugins) -> dict[str, Any]:
    return {
        "kind": registered.kind,
        "name": registered.name,
        "plugin": registered.plugin,
        "doc": inspect.cleandoc(registered.component.__doc__ or ""),
        "schema": registered.component.model_json_schema(),
        "example": example(registered, plugins),
    }
