"""The options that choose among the pictures of an index; for the verbs `search` and `classify`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pixweave.search import Filters


def _day(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    from pixweave.search.query import day

    if text is None:
        return None
    try:
        return day(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no date; write 2024-05-31") from None


def _bytes(_: click.Context, __: click.Parameter, text: str | None) -> int | None:
    from pixweave.search.query import size_of

    if text is None:
        return None
    try:
        return size_of(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no size; write 500k, 2MB") from None


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option("--in", "under", multiple=True, metavar="DIR", help="Only below this folder."),
    click.option(
        "--name", multiple=True, metavar="GLOB", help="Only files or paths named like it."
    ),
    click.option("--since", callback=_day, metavar="DATE", help="Only taken on this day or later."),
    click.option("--until", callback=_day, metavar="DATE", help="Only taken before this day."),
    click.option(
        "--min-bytes", callback=_bytes, metavar="SIZE", help="Only files of at least SIZE."
    ),
    click.option(
        "--max-bytes", callback=_bytes, metavar="SIZE", help="Only files of at most SIZE."
    ),
    click.option(
        "--min-side", type=int, metavar="PX", help="Only pictures whose short side is PX."
    ),
    click.option("--type", "types", multiple=True, metavar="KIND", help="Only jpeg, png, gif..."),
    click.option("--tag", "tags", multiple=True, metavar="WORD", help="Only with this tag."),
)


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with the options of filters."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def split(wishes: Mapping[str, Any]) -> tuple[Filters, dict[str, Any]]:
    """The filters among what a command was given, and the rest."""
    from dataclasses import fields

    from pixweave.search import Filters

    own = {f.name for f in fields(Filters)}
    found = Filters(**{name: value for name, value in wishes.items() if name in own})
    return found, {name: value for name, value in wishes.items() if name not in own}
