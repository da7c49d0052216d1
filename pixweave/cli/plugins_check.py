"""The command `plugins check`: test that components keep the contracts of their kinds."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pixweave.cli import completion
from pixweave.errors import PluginError, did_you_mean

if TYPE_CHECKING:
    from pixweave.plugins import Plugin, Plugins, RegisteredComponent


@click.command()
@click.argument("plugin", shell_complete=completion.plugin_places)
@click.option("--kind", metavar="KIND", help="Check only components of this kind.")
@click.option("--name", metavar="NAME", help="Check only the component of this name.")
@click.option(
    "-s",
    "--set",
    "sets",
    multiple=True,
    metavar="SETTING=VALUE",
    help="A setting of the checked components, as YAML, for those that have no default.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each component.")
@click.pass_context
def check(
    ctx: click.Context,
    plugin: str,
    kind: str | None,
    name: str | None,
    sets: tuple[str, ...],
    as_json: bool,
) -> None:
    """Test every component of PLUGIN, and the recipes and commands that it brings.

    PLUGIN is a .py file, a folder, or the name of an installed plugin. A component is tested with
    its default settings, its own `example` and those of --set. The exit code is 1 if one fails.
    """
    found, plugins = _plugins_of(ctx, plugin)
    given = _settings(sets)
    results = [
        result
        for each in found
        for result in _results(each, plugins, given)
        if kind in (None, result.kind) and name in (None, result.name)
    ]
    if not results:
        raise PluginError(f"'{plugin}' has no component of that kind and name")
    for result in results:
        if as_json:
            click.echo(json.dumps(result.plain()))
        elif result.fault:
            click.echo(f"FAIL  {result.kind} {result.name}: {result.fault}")
        else:
            click.echo(f"ok    {result.kind} {result.name}")
        if result.error is not None and ctx.find_root().obj.debug:
            traceback.print_exception(result.error)
    failed = sum(bool(result.fault) for result in results)
    if failed:
        click.echo(f"{failed} of {len(results)} failed", err=True)
    ctx.exit(int(failed > 0))


@dataclass(frozen=True)
class Result:
    """The result of one check; `fault` is '' if it passed."""

    kind: str
    name: str
    fault: str
    error: BaseException | None = None

    def plain(self) -> dict[str, Any]:
        """For --json."""
        return {
            "event": "checked",
            "kind": self.kind,
            "name": self.name,
            "ok": not self.fault,
            "fault": self.fault,
        }


def _plugins_of(ctx: click.Context, plugin: str) -> tuple[list[Plugin], Plugins]:
    """The plugins to check, and all that are loaded with them."""
    from pixweave.plugins import Plugins
    from pixweave.testing import FakePlugin

    state = ctx.find_root().obj
    place = Path(plugin)
    installed = state.plugins()
    if plugin not in installed.loaded and not place.exists():
        hint = did_you_mean(plugin, installed.loaded)
        raise PluginError(f"there is no plugin, file or folder '{plugin}'; {hint}")
    if plugin in installed.loaded:
        plugins, names = installed, [plugin]
    else:
        before = set(installed.loaded)
        plugins = Plugins.discover([*state.folders, place], state.without)
        names = [name for name in plugins.loaded if name not in before]
    if FakePlugin.name not in plugins.loaded:
        plugins.add(FakePlugin, FakePlugin.name)
    found = [plugins.loaded[name] for name in names]
    for each in found:
        if each.broken:
            raise PluginError(f"the plugin '{each.name}' is broken: {each.broken}")
    return found, plugins


def _settings(sets: tuple[str, ...]) -> dict[str, Any]:
    import yaml

    pairs = (text.partition("=") for text in sets)
    return {name: yaml.safe_load(value) for name, _, value in pairs}


def _results(plugin: Plugin, plugins: Plugins, given: dict[str, Any]) -> Iterator[Result]:
    for registered in plugin.offers:
        yield _checked_component(registered, plugins, given)
    for kind, offers in (("recipe", plugin.recipes), ("command", plugin.commands)):
        for offer in offers:
            yield _checked_content(kind, offer, plugins)


def _checked_component(
    registered: RegisteredComponent, plugins: Plugins, given: dict[str, Any]
) -> Result:
    from pixweave.borders.guard import describe_error
    from pixweave.errors import PixweaveError
    from pixweave.testing import check_component

    kind, name = registered.kind, registered.name
    try:
        settings = {**registered.component.example, **given}
        check_component(kind, plugins.written(registered), settings, plugins)
    except (AssertionError, PixweaveError) as error:
        return Result(kind, name, str(error), error)
    except Exception as error:  # a broken component may raise anything
        return Result(kind, name, f"raised {describe_error(error)}", error)
    return Result(kind, name, "")


def _checked_content(kind: str, offer: Any, plugins: Plugins) -> Result:
    from pixweave.cli.plugin_commands import imported_command
    from pixweave.errors import PixweaveError
    from pixweave.recipe import load

    try:
        if kind == "recipe":
            load([offer.value], plugins)
        else:
            imported_command(offer)
    except PixweaveError as error:
        return Result(kind, offer.name, str(error), error)
    return Result(kind, offer.name, "")
