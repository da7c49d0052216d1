"""Generate docs/reference.md from the code: commands, parts, palettes, hooks, exit codes."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path

import click

from pixweave import Plugins, component, errors, hookspecs, protocols
from pixweave.cli import cli
from pixweave.cli.show import example, settings
from pixweave.media.palettes import SETS
from pixweave.plugins import HOOKS, RegisteredComponent
from pixweave.recipe.section_reader import SECTIONS
from pixweave.recipe.sections import CropSettings, OptimizerSettings
from pixweave.recipe.top_level import GeneralSettings

PAGE = Path(__file__).parent.parent / "docs" / "reference.md"


def reference() -> str:
    """Return the whole page as Markdown."""
    plugins = Plugins.discover()
    bundled = [
        part
        for kind in HOOKS
        for part in plugins.offers(kind).values()
        if plugins.loaded[part.plugin].origin == "bundled"
    ]
    listed = [part for part in bundled if part.kind not in ("trainer", "stage")]
    core = {
        "recipe": GeneralSettings,
        **SECTIONS,
        "crops": CropSettings,
        "optimizer": OptimizerSettings,
    }
    sections = [
        "# Reference\n\nGenerated from the code by `python scripts/reference.py`; do not edit.",
        "## Commands\n\n" + "\n\n".join(_command(*item) for item in cli.all_commands().items()),
        "## Parts\n\n" + "\n\n".join(map(_part, listed)),
        "## Stages\n\n" + "\n\n".join(_part(part) for part in bundled if part.kind == "stage"),
        "## Trainers\n\n" + "\n\n".join(_part(part) for part in bundled if part.kind == "trainer"),
        "## Core settings\n\n" + "\n\n".join(_core(*item) for item in core.items()),
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
        "The argument of `build(run)`, for most kinds:\n\n" + _members(component.BuildContext),
        "The argument of `check(recipe)`:\n\n" + _members(component.RecipeInfo),
        "## Errors and exit codes\n\n```\n"
        + (errors.__doc__ or "").partition("\n\n")[2].rstrip()
        + "\n```\n\n0 means success, 2 an invalid command line, 130 Ctrl-C and 143 SIGTERM.",
    ]
    return "\n\n".join(sections) + "\n"


def _command(name: str, command: click.Command) -> str:
    command._help_option = None  # click caches the first help option, which may have other names
    context = click.Context(
        command, info_name=f"pixweave {name}", help_option_names=["-h", "--help"]
    )
    page = f"### pixweave {name}\n\n```\n{command.get_help(context)}\n```"
    inner = command.commands.items() if isinstance(command, click.Group) else ()
    return "\n\n".join([page, *(_command(f"{name} {word}", below) for word, below in inner)])


def _part(part: RegisteredComponent) -> str:
    doc = inspect.cleandoc(part.component.__doc__ or "")
    return f"### {part.kind} `{part.name}`\n\n{doc}\n\n{_table(part)}\n\n`{example(part)}`"


def _core(name: str, model: type) -> str:
    section = RegisteredComponent("core", name, model, "pixweave")
    return f"### {name}\n\n{inspect.cleandoc(model.__doc__ or '')}\n\n{_table(section)}"


def _table(part: RegisteredComponent) -> str:
    rows = settings(part)
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
    summary = (inspect.getdoc(protocol) or "").split("\n\n")[0].replace("\n", " ")
    names = ", ".join(f"`{method}`" for method in methods if "init" not in method)
    return f"- `{protocol.__name__}`: {summary} ({names})"


def _members(protocol: type) -> str:
    """Return the public members of a protocol as a list, each with its docstring."""
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
