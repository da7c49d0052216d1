"""The verbs `plugins` and `show`: what there is, and what one part can do."""

from __future__ import annotations

import inspect
import json
from typing import TYPE_CHECKING, Any

import click

from pixweave.errors import PluginError

if TYPE_CHECKING:
    from pixweave.plugins import Plugins, RegisteredComponent


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def plugins(ctx: click.Context, as_json: bool) -> None:
    """List the plugins, what they offer, and which are broken and why."""
    known = ctx.obj.plugins()
    known.import_all()
    found = list(known.loaded.values())
    if as_json:
        click.echo(json.dumps([_plugin_json(p) for p in found], indent=2))
        return
    width = max((len(p.name) for p in found), default=0)
    for plugin in found:
        offers = "; ".join(f"{kind} {', '.join(names)}" for kind, names in _by_kind(plugin.offers))
        if plugin.broken:
            offers = f"BROKEN: {plugin.broken}"
        elif plugin.heavy:
            offers += "  (slow: imports torch when it is loaded)"
        origin = f"{plugin.origin} {plugin.version}".strip()
        click.echo(f"{plugin.name:<{width}}  {origin:<16}  {offers}")


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def show(ctx: click.Context, name: str, as_json: bool) -> None:
    """Describe the part NAME: what it does, its settings, where it comes from.

    Where two kinds share a name, as the loss and the setting `palette`, every one is shown;
    `loss/palette` picks one.
    """
    found = _named(ctx.obj.plugins(), name)
    if as_json:
        click.echo(json.dumps([_offer_json(offer) for offer in found], indent=2))
        return
    click.echo("\n\n".join(describe(offer) for offer in found))


def describe(offer: RegisteredComponent) -> str:
    """The page of one component: heading, docstring, settings table, an example line."""
    lines = [f"{offer.kind} {offer.name}  (plugin {offer.plugin})", ""]
    lines += [inspect.cleandoc(offer.component.__doc__ or ""), "", "settings:"]
    for name, kind, default, help_ in settings(offer):
        lines += [f"  {name}: {kind} = {default}", f"      {help_}"]
    if not offer.component.model_fields:
        lines.append("  none")
    typed = ("trainer", "searcher", "executor")
    where = "on the command line" if offer.kind in typed else "in a recipe"
    return "\n".join([*lines, "", f"{where}:", f"  {example(offer)}"])


def settings(offer: RegisteredComponent) -> list[tuple[str, str, str, str]]:
    """Name, type, default and help of every setting of a component."""
    from pixweave.component import part_settings

    rows = []
    schema = offer.component.model_json_schema()
    own = schema if "properties" in schema else schema["anyOf"][-1]  # after its bare forms
    parts = part_settings(offer.component)
    for name, info in offer.component.model_fields.items():
        kind = _type(own.get("properties", {})[name], schema.get("$defs", {}))
        value = info.get_default(call_default_factory=True)
        if name in parts:
            value = parts[name].default
        default = "required" if info.is_required() else _text(value)
        rows.append((name, kind, default, info.description or ""))
    return rows


def example(offer: RegisteredComponent) -> str:
    """One line of a recipe, or for a trainer the command, that uses the component."""
    if offer.kind == "trainer":
        needed = [name for name, info in offer.component.model_fields.items() if info.is_required()]
        sets = "".join(f" --set {name}=..." for name in needed)
        return f"pixweave train {offer.name} DATA --out FILE{sets}"
    if offer.kind == "searcher":
        return f"pixweave search TEXT --searcher {offer.name}"
    if offer.kind == "executor":
        return f"pixweave index DIR --executor {offer.name}"
    if offer.kind == "exporter":
        suffixes = offer.component.suffixes or (f".{offer.name}",)
        return f"export: [{{file: {'steps/' if suffixes[0] == '/' else 'picture' + suffixes[0]}}}]"
    word = "do" if offer.kind == "stage" else "use"
    parts = [f"{word}: {offer.name}"]
    for name, info in offer.component.model_fields.items():
        if info.is_required():
            parts.append(f"{name}: ...")
        elif len(parts) < 3 and (default := info.get_default()) is not None:
            parts.append(f"{name}: {_text(default)}")
    entry = f"{{{', '.join(parts)}}}"
    form = _EXAMPLES.get(offer.kind) or f"{_PLURAL[offer.kind]}: [{{entry}}]"
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
    """A JSON schema in a few words: `number 0..1`, `square | hex`, `list of 2 numbers`."""
    if "x-type" in schema:
        return str(schema["x-type"])
    if "x-part" in schema:
        kind = str(schema["x-part"])
        return f"list of {kind} parts" if schema["type"] == "array" else f"{kind} part"
    if "$ref" in schema:
        return _type(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
    if "anyOf" in schema:
        words = [_type(s, definitions) for s in schema["anyOf"] if s.get("type") != "null"]
        if {"number", "string", "object"} <= {w.split()[0] for w in words}:
            return "number over time" + _range(schema)
        return " | ".join(dict.fromkeys(words))
    if "enum" in schema:
        return " | ".join(str(v) for v in schema["enum"])
    if schema.get("type") == "array":
        items = schema.get("prefixItems") or [schema.get("items", {})]
        of = _type(items[0], definitions)
        if "prefixItems" in schema:
            return f"[{', '.join([of] * len(items))}]"
        return f"list of {of}"
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

    kind, _, short = name.rpartition("/")
    kinds = [kind] if kind in HOOKS else list(HOOKS)
    found = [o for k in kinds for o in plugins.offers(k).values() if o.name == short]
    if found:
        return found
    from pixweave.errors import did_you_mean

    names = [o.name for k in HOOKS for o in plugins.offers(k).values()]
    for plugin, reason in plugins.broken.items():
        if name in plugin:
            raise PluginError(f"the plugin '{plugin}' is broken: {reason}")
    broken = f"; broken plugins: {', '.join(plugins.broken)}" if plugins.broken else ""
    raise PluginError(f"no plugin offers '{name}'; {did_you_mean(name, names)}{broken}")


def _by_kind(offers: list[RegisteredComponent]) -> list[tuple[str, list[str]]]:
    kinds: dict[str, list[str]] = {}
    for offer in offers:
        kinds.setdefault(offer.kind, []).append(offer.name)
    return list(kinds.items())


def _plugin_json(plugin: Any) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "origin": plugin.origin,
        "version": plugin.version,
        "broken": plugin.broken or None,
        "heavy": plugin.heavy,
        "offers": dict(_by_kind(plugin.offers)),
    }


def _offer_json(offer: RegisteredComponent) -> dict[str, Any]:
    return {
        "kind": offer.kind,
        "name": offer.name,
        "plugin": offer.plugin,
        "doc": inspect.cleandoc(offer.component.__doc__ or ""),
        "schema": offer.component.model_json_schema(),
        "example": example(offer),
    }
