"""The command line: verbs, global options, and one way to report an error."""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
from typing import TYPE_CHECKING, Any

import click

from pixweave.errors import PixweaveError, RecipeError

if TYPE_CHECKING:
    from pixweave.plugins import Plugins


_MODULES = {
    "run": ("run",),
    "train": ("train",),
    "classify": ("classify",),
    "index": ("index",),
    "search": ("search",),
    "recipes": ("validate", "explain", "ls", "cat", "cp", "schema"),
    "models": ("models",),
    "plugins": ("plugins", "show"),
}
"""Module of this room -> the verbs in it. Only that of the verb that runs is imported."""

_MODULE_OF = {verb: module for module, verbs in _MODULES.items() for verb in verbs}


class State:
    """What the verbs share: which plugins the user asked for, found when first needed."""

    def __init__(self) -> None:
        self.folders: list[str] = _split(os.environ.get("PIXWEAVE_PLUGINS_DIR"), os.pathsep)
        self.without: list[str] = _split(os.environ.get("PIXWEAVE_WITHOUT"), ",")
        self._plugins: Plugins | None = None

    def plugins(self) -> Plugins:
        """The plugins at hand."""
        if self._plugins is None:
            from pixweave.plugins import Plugins

            self._plugins = Plugins.discover(self.folders, self.without)
        return self._plugins


class Verbs(click.Group):
    """A group whose verbs all take the common options and report pixweave's errors alike."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all verbs, sorted."""
        return sorted(_MODULE_OF)

    def get_command(self, ctx: click.Context | None, cmd_name: str) -> click.Command | None:
        """The verb of that name, imported when it is asked for; None if there is none."""
        if cmd_name not in self.commands and cmd_name in _MODULE_OF:
            module = importlib.import_module(f"pixweave.cli.{_MODULE_OF[cmd_name]}")
            self.add_command(getattr(module, cmd_name), cmd_name)
        return self.commands.get(cmd_name)

    def all_commands(self) -> dict[str, click.Command]:
        """Every verb by its name, in the order of the documentation."""
        found = {name: self.get_command(None, name) for name in _MODULE_OF}
        return {name: command for name, command in found.items() if command is not None}

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a verb, with `--plugins-dir`, `--without` and `--offline`."""
        cmd.params += [
            click.Option(
                ["--plugins-dir"],
                multiple=True,
                metavar="DIR",
                expose_value=False,
                callback=_remember("folders"),
                help="Also load every plugin file in DIR (PIXWEAVE_PLUGINS_DIR).",
            ),
            click.Option(
                ["--without"],
                multiple=True,
                metavar="NAME",
                expose_value=False,
                callback=_remember("without"),
                help="Leave the plugin NAME out (PIXWEAVE_WITHOUT).",
            ),
            click.Option(
                ["--offline"],
                is_flag=True,
                expose_value=False,
                callback=_offline,
                help="Fetch nothing, use no network (PIXWEAVE_OFFLINE=1).",
            ),
        ]
        super().add_command(cmd, name)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the verb; an error that pixweave raised on purpose is printed, not traced."""
        try:
            return super().invoke(ctx)
        except PixweaveError as error:
            if os.environ.get("PIXWEAVE_RAISE"):
                raise
            report(error, "--json" in sys.argv)
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            click.echo("stopped", err=True)
            ctx.exit(130)


def report(error: PixweaveError, as_json: bool) -> None:
    """Print an error: lines on stderr, or with --json one object on stdout."""
    if not as_json:
        click.echo(f"{_prefix(error)}{error}", err=True)
        for note in getattr(error, "__notes__", ()):
            click.echo(f"  {note}", err=True)
        return
    body: dict[str, Any] = {"code": error.code, "message": str(error)}
    if isinstance(error, RecipeError):
        body["problems"] = [
            {
                "file": p.where.source,
                "line": p.where.line,
                "column": p.where.column,
                "message": p.message,
                "hint": p.hint,
            }
            for p in error.issues
        ]
    click.echo(json.dumps({"event": "result", "ok": False, "error": body}))


def _prefix(error: PixweaveError) -> str:
    return "" if isinstance(error, RecipeError) else "pixweave: "


def _remember(name: str) -> Any:
    def callback(ctx: click.Context, _: click.Parameter, values: tuple[str, ...]) -> None:
        state = ctx.ensure_object(State)
        getattr(state, name).extend(values)

    return callback


def _offline(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    """Forbid the network to the model store, and to the hub's client that other libraries use."""
    wish = "--offline" if value else os.environ.get("PIXWEAVE_OFFLINE", "")
    if wish.lower() in ("--offline", "1", "true", "yes", "on"):
        for name, text in (("PIXWEAVE_OFFLINE", wish), ("HF_HUB_OFFLINE", "1")):
            before = os.environ.get(name)
            os.environ[name] = text
            ctx.call_on_close(functools.partial(_restore, name, before))


def _restore(name: str, value: str | None) -> None:
    os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value


def _split(text: str | None, separator: str) -> list[str]:
    return [part for part in (text or "").split(separator) if part]


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pixweave", prog_name="pixweave")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Pictures and animation driven by meaning: a YAML recipe in, a picture or a film out.

    \b
    pixweave run hello                 draw the built-in recipe `hello`
    pixweave cp hello mine.yaml        copy it, edit it, run it
    pixweave explain mine.yaml         every value and where it comes from
    pixweave plugins                   what can be used in a recipe
    """
    ctx.ensure_object(State)


def main() -> None:
    """Entry point of the `pixweave` command."""
    cli()
