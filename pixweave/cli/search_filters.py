"""The filter options of the commands `search` and `classify`, on the images of an index."""

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
        raise click.BadParameter(f"{text!r} is not a valid date; write 2024-05-31") from None


def _bytes(_: click.Context, __: click.Parameter, text: str | None) -> int | None:
    from pixweave.search.query import size_of

    if text is None:
        return None
    try:
        return size_of(text)
    except ValueError:
        raise click.BadParameter(f"{text!r} is not a valid size; write 500k or 2MB") from None


_OPTIONS: tuple[Callable[[Any], Any], ...] = (
    click.option(
        "--in",
        "under",
        multiple=True,
        metavar="DIR",
        help="Only images in this folder or below it.",
    ),
    click.option(
        "--name", multiple=True, metavar="GLOB", help="Only file names or paths that match GLOB."
    ),
    click.option(
        "--since", callback=_day, metavar="DATE", help="Only images taken on this day or later."
    ),
    click.option(
        "--until", callback=_day, metavar="DATE", help="Only images taken before this day."
    ),
    click.option(
        "--min-bytes", callback=_bytes, metavar="SIZE", help="Only files of at least SIZE."
    ),
    click.option(
        "--max-bytes", callback=_bytes, metavar="SIZE", help="Only files of at most SIZE."
    ),
    click.option(
        "--min-side",
        type=int,
        metavar="PX",
        help="Only images whose short side is at least PX pixels.",
    ),
    click.option(
        "--type",
        "types",
        multiple=True,
        metavar="KIND",
        help="Only images of this format: jpeg, png, gif...",
    ),
    click.option("--tag", "tags", multiple=True, metavar="WORD", help="Only images with this tag."),
)


def options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The command with the filter options added."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def split(values: Mapping[str, Any]) -> tuple[Filters, dict[str, Any]]:
    """The option values of a command as filters, and the remaining values."""
    from dataclasses import fields

    from pixweave.search import Filters

    names = {f.name for f in fields(Filters)}
    filters = Filters(**{name: value for name, value in values.items() if name in names})
    return filters, {name: value for name, value in values.items() if name not in names}
