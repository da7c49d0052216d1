"""The command line: commands, common options, and how errors are reported."""

from __future__ import annotations

import atexit
import errno
import functools
import gc
import importlib
import os
from typing import Any

import click

from pixweave.cli import plugin_commands
from pixweave.cli.error_report import InterruptError, UnexpectedError, of_stdout, report
from pixweave.cli.state import State
from pixweave.errors import PixweaveError

_MODULES = {
    "run": ("run",),
    "train": ("train",),
    "classify": ("classify",),
    "index": ("index",),
    "search": ("search",),
    "recipes": ("validate", "explain", "ls", "cat", "cp", "schema"),
    "models": ("models",),
    "plugins": ("plugins",),
    "show": ("show",),
    "completion": ("completion",),
}
"""Module of this package -> its commands. Only the module of the requested one is imported."""

_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


class Verbs(click.Group):
    """A group that adds the common options to every command and reports pixweave's errors."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands, sorted; those of plugins last."""
        return [*sorted(_MODULE_OF), *plugin_commands.listed(_state(ctx), _MODULE_OF)]

    def get_command(self, ctx: click.Context | None, cmd_name: str) -> click.Command | None:
        """The command of that name, imported on first access; None if there is none."""
        if cmd_name not in self.commands and cmd_name in _MODULE_OF:
            module = importlib.import_module(f"pixweave.cli.{_MODULE_OF[cmd_name]}")
            self.add_command(getattr(module, cmd_name), cmd_name)
        if cmd_name not in self.commands and ctx is not None:
            command = plugin_commands.find(_state(ctx), cmd_name)
            if command is not None:
                self.add_command(command, cmd_name)
                return self.commands.pop(cmd_name)  # other plugins may be loaded the next time
        return self.commands.get(cmd_name)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands of `--help`; each plugin's under its name."""
        own = [(name, self.get_command(ctx, name)) for name in sorted(_MODULE_OF)]
        groups = {"Commands": {name: command for name, command in own if command is not None}}
        groups.update(plugin_commands.by_plugin(_state(ctx), _MODULE_OF))
        longest = max(len(name) for commands in groups.values() for name in commands)
        for heading, commands in groups.items():
            limit = formatter.width - 6 - longest
            rows = [(n, c.get_short_help_str(limit)) for n, c in commands.items() if not c.hidden]
            with formatter.section(heading):
                formatter.write_dl(rows)

    def all_commands(self) -> dict[str, click.Command]:
        """Every command by name, in the order of the reference."""
        found = {name: self.get_command(None, name) for name in _MODULE_OF}
        return {name: command for name, command in found.items() if command is not None}

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Add a command, with `--plugins-dir`, `--without`, `--offline` and `--debug`."""
        if "--plugins-dir" in (option for p in cmd.params for option in p.opts):
            super().add_command(cmd, name)
            return
        cmd.params += [
            click.Option(
                ["--plugins-dir"],
                multiple=True,
                metavar="DIR",
                type=click.Path(),
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
                shell_complete=_complete_plugins,
                help="Do not load the plugin NAME (PIXWEAVE_WITHOUT).",
            ),
            click.Option(
                ["--offline"],
                is_flag=True,
                expose_value=False,
                callback=_offline,
                help="Do not use the network or download anything (PIXWEAVE_OFFLINE=1).",
            ),
            click.Option(
                ["--debug"],
                is_flag=True,
                expose_value=False,
                callback=_debug,
                help="Show the traceback of an error.",
            ),
        ]
        super().add_command(cmd, name)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Remember what is needed before the command is known: --json, and where plugins are."""
        ctx.meta["as_json"] = "--json" in args
        if args and args[0] not in _MODULE_OF:
            _state(ctx).look_ahead(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; report any error in one line, and set the exit code.

        Only --debug shows a traceback. With --json the last line is always a result event.
        """
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            error: PixweaveError = InterruptError("stopped")
        except PixweaveError as known:
            error = known
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except (Exception, SystemExit) as unexpected:
            if isinstance(unexpected, OSError) and unexpected.errno == errno.EPIPE:
                raise  # click ends quietly when the reader of stdout has gone
            error = of_stdout(unexpected) or UnexpectedError.of(unexpected)
        if _state(ctx).debug:
            import traceback

            traceback.print_exception(error)
        report(error, ctx.meta["as_json"])
        ctx.exit(error.exit_code)


def _state(ctx: click.Context) -> State:
    return ctx.ensure_object(State)


def _remember(name: str) -> Any:
    def callback(ctx: click.Context, _: click.Parameter, values: tuple[str, ...]) -> None:
        state = _state(ctx)
        if not state.ahead:
            getattr(state, name).extend(values)

    return callback


def _complete_plugins(ctx: click.Context, param: click.Parameter, incomplete: str) -> Any:
    from pixweave.cli import completion

    return completion.plugin_names(ctx, param, incomplete)


def _debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    _state(ctx).debug |= value


def _offline(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    """Disable the network for the model store and for the Hugging Face Hub client."""
    setting = "--offline" if value else os.environ.get("PIXWEAVE_OFFLINE", "")
    if setting.lower() in ("--offline", "1", "true", "yes", "on"):
        for name, text in (("PIXWEAVE_OFFLINE", setting), ("HF_HUB_OFFLINE", "1")):
            before = os.environ.get(name)
            os.environ[name] = text
            ctx.call_on_close(functools.partial(_restore, name, before))


def _restore(name: str, value: str | None) -> None:
    os.environ.pop(name, None)
    if value is not None:
        os.environ[name] = value


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="pixweave", prog_name="pixweave")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Generate images and animations from text prompts with CLIP, described in a YAML recipe.

    \b
    pixweave run hello                 run the built-in recipe `hello`
    pixweave cp hello mine.yaml        copy it, edit it, run it
    pixweave explain mine.yaml         show every setting and where its value comes from
    pixweave plugins                   list the components that recipes can use
    """
    ctx.ensure_object(State)


def main() -> None:
    """Run the `pixweave` command; the entry point of the package."""
    atexit.register(gc.freeze)  # else a last collection takes 0.05 s, to no end
    if "_PIXWEAVE_COMPLETE" in os.environ:
        from pixweave.cli import completion

        completion.install()
    cli()
