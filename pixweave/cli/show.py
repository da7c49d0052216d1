"""The command `show`: describe one component."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

import click

from pixweave.errors import PluginError

if TYPE_CHECKING:
    from pixweave.plugins import Plugins, RegisteredComponent


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> None:
    """Describe the component NAME and its settings.

    If components of two kinds share a name, all of them are shown; `loss/NAME` selects one kind.
    """
    found = _named(ctx.obj.plugins(), name)
    if as_json:
        click.echo(json.dumps([_component_json(registered) for registered in found], indent=2))
        return
    plugins = ctx.obj.plugins()
    click.echo("\n\n".join(describe(registered, plugins) for registered in found))


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
    command_line_kinds = ("trainer", "searcher", "executor")
    where = "on the command line" if registered.kind in command_line_kinds else "in a recipe"
    return "\n".join([*lines, "", f"{where}:", f"  {example(registered)}"])


def settings(registered: RegisteredComponent) -> list[tuple[str, str, str, str]]:
    """The (name, type, default, help) of every setting of a component."""
    from pixweave.component import part_settings

    rows = []
    schema = registered.component.model_json_schema()
    # a component with short forms lists those first
    full = schema if "properties" in schema else schema["anyOf"][-1]
    parts = part_settings(registered.component)
    for name, info in registered.component.model_fields.items():
        kind = _type(full.get("properties", {})[name], schema.get("$defs", {}))
        value = info.get_default(call_default_factory=True)
        if name in parts:
            value = parts[name].default
        default = "required" if info.is_required() else _text(value)
        rows.append((name, kind, default, info.description or ""))
    return rows


def example(registered: RegisteredComponent) -> str:
    """One line that uses the component: of a recipe, or a command for kinds used by commands."""
    if registered.kind == "trainer":
        required = [
            name for name, info in registered.component.model_fields.items() if info.is_required()
        ]
        sets = "".join(f" --set {name}=..." for name in required)
        return f"pixweave train {registered.name} DATA --out FILE{sets}"
    if registered.kind == "searcher":
        return f"pixweave search TEXT --searcher {registered.name}"
    if registered.kind == "executor":
        return f"pixweave index DIR --executor {registered.name}"
    if registered.kind == "exporter":
        suffixes = registered.component.suffixes or (f".{registered.name}",)
        return f"export: [{{file: {'steps/' if suffixes[0] == '/' else 'picture' + suffixes[0]}}}]"
    key = "do" if registered.kind == "stage" else "use"
    parts = [f"{key}: {registered.name}"]
    for name, info in registered.component.model_fields.items():
        if info.is_required():
            parts.append(f"{name}: ...")
        elif len(parts) < 3 and (default := info.get_default()) is not None:
            parts.append(f"{name}: {_text(default)}")
    entry = f"{{{', '.join(parts)}}}"
    form = _EXAMPLES.get(registered.kind) or f"{_PLURAL[registered.kind]}: [{{entry}}]"
    return form.format(entry=entry)


_EXAMPLES = {
    "generator": "generator: {entry}",
    "classifier": "stages: [{{do: classify, classifier: {entry}}}]",
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
        if {"number", "string", "object"} <= {text.split()[0] for text in types}:
            return "number over time" + _range(schema)
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

    names = [o.name for k in HOOKS for o in plugins.offers(k).values()]
    for plugin, reason in plugins.broken.items():
        if name in plugin:
            raise PluginError(f"the plugin '{plugin}' is broken: {reason}")
    broken = f"; broken plugins: {', '.join(plugins.broken)}" if plugins.broken else ""
    raise PluginError(f"no component is named '{name}'; {did_you_mean(name, names)}{broken}")


def _component_json(registered: RegisteredComponent) -> dict[str, Any]:
    return {
        "kind": registered.kind,
        "name": registered.name,
        "plugin": registered.plugin,
        "doc": inspect.cleandoc(registered.component.__doc__ or ""),
        "schema": registered.component.model_json_schema(),
        "example": example(registered),
    }
