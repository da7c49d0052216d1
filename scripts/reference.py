"""Write docs/reference.md from the code: commands, parts, stages, palettes, hooks, exit codes."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path

import click

from pixweave import Plugins, component, errors, hookspecs, protocols
from pixweave.cli import cli
from pixweave.cli.plugins import example, settings
from pixweave.media.palettes import SETS
from pixweave.plugins import HOOKS, RegisteredComponent
from pixweave.recipe.section_reader import SECTIONS
from pixweave.recipe.sections import CropSettings, OptimizerSettings
from pixweave.recipe.top_level import GeneralSettings

PAGE = Path(__file__).parent.parent / "docs" / "reference.md"


def reference() -> str:
    """The whole page."""
    plugins = Plugins.discover()
    bundled = [
        o
        for kind in HOOKS
        for o in plugins.offers(kind).values()
        if plugins.loaded[o.plugin].origin == "bundled"
    ]
    listed = [o for o in bundled if o.kind not in ("trainer", "stage")]
    core = {
        "recipe": GeneralSettings,
        **SECTIONS,
        "crops": CropSettings,
        "optimizer": OptimizerSettings,
    }
    sections = [
        "# Reference\n\nWritten by `python scripts/reference.py` from the code; do not edit.",
        "## Commands\n\n" + "\n\n".join(_command(*item) for item in cli.all_commands().items()),
        "## Parts\n\n" + "\n\n".join(map(_part, listed)),
        "## Stages\n\n" + "\n\n".join(_part(o) for o in bundled if o.kind == "stage"),
        "## Trainers\n\n" + "\n\n".join(_part(o) for o in bundled if o.kind == "trainer"),
        "## Settings of the core\n\n" + "\n\n".join(_core(*item) for item in core.items()),
        "## Palettes\n\n"
        + "\n".join(
            f"- `{name}`: {' '.join('#' + bytes(c).hex() for c in colours)}"
            for name, colours in SETS.items()
        ),
        "## Hooks\n\n"
        + "\n".join(
            f"- `{hook}()`: {inspect.getdoc(getattr(hookspecs, hook))}" for hook in HOOKS.values()
        )
        + "\n\nWhat `build(run)` must return:\n\n"
        + "\n".join(_protocol(kind) for kind in HOOKS),
        "What `build(run)` is given, for most kinds:\n\n" + _members(component.BuildContext),
        "What `check(recipe)` is given:\n\n" + _members(component.RecipeInfo),
        "## Errors and exit codes\n\n```\n"
        + (errors.__doc__ or "").partition("\n\n")[2].rstrip()
        + "\n```\n\n0 is success, 2 a wrong command line, 130 Ctrl-C and 143 SIGTERM.",
    ]
    return "\n\n".join(sections) + "\n"


def _command(name: str, command: click.Command) -> str:
    command._help_option = None  # click keeps the first that was made, perhaps with other names
    context = click.Context(
        command, info_name=f"pixweave {name}", help_option_names=["-h", "--help"]
    )
    page = f"### pixweave {name}\n\n```\n{command.get_help(context)}\n```"
    inner = command.commands.items() if isinstance(command, click.Group) else ()
    return "\n\n".join([page, *(_command(f"{name} {word}", below) for word, below in inner)])


def _part(offer: RegisteredComponent) -> str:
    doc = inspect.cleandoc(offer.component.__doc__ or "")
    return f"### {offer.kind} `{offer.name}`\n\n{doc}\n\n{_table(offer)}\n\n`{example(offer)}`"


def _core(name: str, model: type) -> str:
    offer = RegisteredComponent("core", name, model, "pixweave")
    return f"### {name}\n\n{inspect.cleandoc(model.__doc__ or '')}\n\n{_table(offer)}"


def _table(offer: RegisteredComponent) -> str:
    rows = settings(offer)
    if not rows:
        return "No settings."
    lines = ["| setting | type | default | meaning |", "|---|---|---|---|"]
    for row in rows:
        lines.append("| " + " | ".join(cell.replace("|", "or") for cell in row) + " |")
    return "\n".join(lines)


def _protocol(kind: str) -> str:
    protocol = getattr(protocols, "Training" if kind == "trainer" else kind.capitalize())
    methods = [n for n, v in vars(protocol).items() if inspect.isfunction(v) and n[0] != "_"]
    methods += ["__call__"] if "__call__" in vars(protocol) else []
    said = (inspect.getdoc(protocol) or "").split("\n\n")[0].replace("\n", " ")
    names = ", ".join(f"`{method}`" for method in methods if "init" not in method)
    return f"- `{protocol.__name__}`: {said} ({names})"


def _members(protocol: type) -> str:
    """The public members of a protocol, each with its docstring."""
    lines = []
    for name, member in vars(protocol).items():
        if name.startswith("_") or not (isinstance(member, property) or callable(member)):
            continue
        arguments = "" if isinstance(member, property) else str(_arguments(member))
        text = " ".join((inspect.getdoc(member) or "").split())
        lines.append(f"- `{name}{arguments}`: {text}")
    return "\n".join(lines)


def _arguments(function: Callable[..., object]) -> str:
    names = [name for name in inspect.signature(function).parameters if name != "self"]
    return f"({', '.join(names)})"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(reference(), "utf-8")
    print(
        PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE, file=sys.stderr
    )
