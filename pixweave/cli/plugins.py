"""The command `plugins`: list the plugins and their components."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pixweave.plugins import RegisteredComponent


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def plugins(ctx: click.Context, as_json: bool) -> None:
    """List the plugins and their components.

    Broken plugins are listed with the reason.
    """
    plugins = ctx.obj.plugins()
    plugins.import_all()
    found = list(plugins.loaded.values())
    if as_json:
        click.echo(json.dumps([_plugin_json(p) for p in found], indent=2))
        return
    width = max((len(p.name) for p in found), default=0)
    for plugin in found:
        listed = "; ".join(f"{kind} {', '.join(names)}" for kind, names in _by_kind(plugin.offers))
        if plugin.broken:
            listed = f"BROKEN: {plugin.broken}"
        elif plugin.heavy:
            listed += "  (slow: imports torch when it is loaded)"
        origin = f"{plugin.origin} {plugin.version}".strip()
        click.echo(f"{plugin.name:<{width}}  {origin:<16}  {listed}")


def _by_kind(offers: list[RegisteredComponent]) -> list[tuple[str, list[str]]]:
    kinds: dict[str, list[str]] = {}
    for registered in offers:
        kinds.setdefault(registered.kind, []).append(registered.name)
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
