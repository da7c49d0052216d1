"""The commands `plugins`, `plugins new` and `plugins check`; `plugins` alone lists them."""

from __future__ import annotations

import importlib
import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pixweave.plugins import Plugin, Plugins


class _PluginCommands(click.Group):
    """A group whose commands are imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """`check` and `new`."""
        return ["check", "new"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name; None if there is none."""
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"pixweave.cli.plugins_{cmd_name}")
        command: click.Command = getattr(module, cmd_name)
        return command


@click.group(cls=_PluginCommands, invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def plugins(ctx: click.Context, as_json: bool) -> None:
    """List the plugins and their components.

    Broken plugins are listed with the reason. `plugins new` writes a new plugin, `plugins check`
    tests one.
    """
    if ctx.invoked_subcommand is not None:
        return
    plugins = ctx.obj.plugins()
    plugins.import_all()
    found = list(plugins.loaded.values())
    if as_json:
        click.echo(json.dumps([_plugin_json(plugins, p) for p in found], indent=2))
        return
    width = max((len(p.name) for p in found), default=0)
    for plugin in found:
        listed = "; ".join(f"{kind} {', '.join(n)}" for kind, n in offered(plugins, plugin).items())
        if plugin.broken:
            listed = f"BROKEN: {plugin.broken}"
        elif plugin.heavy:
            listed += "  (slow: imports torch when it is loaded)"
        origin = f"{plugin.origin} {plugin.version}".strip()
        click.echo(f"{plugin.name:<{width}}  {origin:<16}  {listed}")
    for name, owners in plugins.clashes().items():
        names = " and ".join(owners)
        first = f"; '{name}' is the first" if plugins.is_clear(name) else "; write one of them"
        click.echo(f"note: '{name}' is offered as {names}{first}", err=True)


def offered(plugins: Plugins, plugin: Plugin) -> dict[str, list[str]]:
    """What a plugin offers by kind, under the names that recipes and commands use."""
    found: dict[str, list[str]] = {}
    for registered in plugin.offers:
        found.setdefault(registered.kind, []).append(plugins.written(registered))
    for kind in ("recipes", "presets", "models", "commands"):
        if offers := getattr(plugin, kind):
            found[kind.removesuffix("s")] = [offer.name for offer in offers]
    if plugin.after_run is not None:
        found["after_run"] = ["yes"]
    return found


def _plugin_json(plugins: Plugins, plugin: Plugin) -> dict[str, Any]:
    return {
        "name": plugin.name,
        "origin": plugin.origin,
        "version": plugin.version,
        "api": plugin.api,
        "broken": plugin.broken or None,
        "heavy": plugin.heavy,
        "offers": offered(plugins, plugin),
    }
