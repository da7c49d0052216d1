"""Write docs/reference.md from the code: verbs, parts, stages, palettes, hooks, exit codes."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

import click

from pixweave import Plugins, errors, hookspecs, protocols
from pixweave.cli import cli
from pixweave.cli.plugins import example, settings
from pixweave.media.palettes import SETS
from pixweave.plugins import HOOKS, Offer
from pixweave.recipe.section_reader import models
from pixweave.recipe.sections import Crops, Optimizer
from pixweave.recipe.stage_types import DOINGS
from pixweave.recipe.top_level import Core

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
    sections = [
        "# Reference\n\nWritten by `python scripts/reference.py` from the code; do not edit.",
        "## Verbs\n\n" + "\n\n".join(_verb(name, verb) for name, verb in cli.commands.items()),
        "## Parts\n\n" + "\n\n".join(_part(o) for o in bundled if o.kind != "trainer"),
        "## Trainers\n\n" + "\n\n".join(_part(o) for o in bundled if o.kind == "trainer"),
        "## Settings of the core\n\n"
        + "\n\n".join(
            _core(name, model)
            for name, model in (
                ("recipe", Core),
                *models().items(),
                ("crops", Crops),
                ("optimizer", Optimizer),
            )
        ),
        "## Stages of a recipe\n\n"
        + "\n\n".join(_core(f"do: {do}", doing.model) for do, doing in DOINGS.items()),
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
        "## Errors and exit codes\n\n```\n"
        + (errors.__doc__ or "").partition("\n\n")[2].rstrip()
        + "\n```\n\n0 is success, 2 a wrong command line, 130 Ctrl-C and 143 SIGTERM.",
    ]
    return "\n\n".join(sections) + "\n"


def _verb(name: str, verb: click.Command) -> str:
    verb._help_option = None  # click keeps the first that was made, perhaps with other names
    context = click.Context(
        verb, info_name=f"pixweave {name}", help_option_names=["-h", "--help"]
    )
    page = f"### pixweave {name}\n\n```\n{verb.get_help(context)}\n```"
    inner = verb.commands.items() if isinstance(verb, click.Group) else ()
    return "\n\n".join([page, *(_verb(f"{name} {word}", below) for word, below in inner)])


def _part(offer: Offer) -> str:
    doc = inspect.cleandoc(offer.component.__doc__ or "")
    return f"### {offer.kind} `{offer.name}`\n\n{doc}\n\n{_table(offer)}\n\n`{example(offer)}`"


def _core(name: str, model: type) -> str:
    offer = Offer("core", name, model, "pixweave")
    return f"### {name}\n\n{inspect.cleandoc(model.__doc__ or '')}\n\n{_table(offer)}"


def _table(offer: Offer) -> str:
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


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(reference(), "utf-8")
    print(
        PAGE.relative_to(Path.cwd()) if PAGE.is_relative_to(Path.cwd()) else PAGE, file=sys.stderr
    )
