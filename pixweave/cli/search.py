"""The verb `search`: pictures of an index, found by what they show."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pixweave.cli import search_filters
from pixweave.cli.index import device_option, echo, index_option, perceptor_option
from pixweave.errors import MissingError, RunError

if TYPE_CHECKING:
    from pixweave.search import Hit


@click.command()
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@index_option
@perceptor_option
@device_option
@click.option(
    "--queries",
    type=click.File("rb"),
    metavar="FILE",
    help="Search for each line of FILE (-: stdin) in turn, with all else that is "
    "given; JSON lines, or TSV, that begin with the line.",
)
@click.option("--like", multiple=True, metavar="FILE", help="Look for pictures like this one.")
@click.option(
    "-t",
    "--term",
    "terms",
    multiple=True,
    type=(float, str),
    metavar="WEIGHT TEXT",
    help="A text that counts so much; below 0 it is subtracted.",
)
@click.option(
    "--image",
    "images",
    multiple=True,
    type=(float, str),
    metavar="WEIGHT FILE",
    help="A picture that counts so much.",
)
@click.option("--minus", multiple=True, metavar="TEXT", help="Short for --term -0.5 TEXT.")
@click.option(
    "--not",
    "nots",
    multiple=True,
    metavar="TEXT",
    help="Drop the pictures that clearly show TEXT, not subtract it.",
)
@click.option(
    "--not-above",
    type=float,
    default=1.5,
    metavar="Z",
    help="What is clearly: standard deviations above the mean of the index.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    type=(str, float),
    metavar="TEXT Z",
    help="Keep the pictures that show TEXT at least so clearly.",
)
@search_filters.options
@click.option("-n", "--top", type=click.IntRange(1), default=20, metavar="N", help="How many.")
@click.option("--skip", type=click.IntRange(0), default=0, metavar="N", help="Leave the first out.")
@click.option(
    "--cut",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Only those at least this far from the mean score to the best.",
)
@click.option("--min-score", "least", type=float, metavar="COS", help="Only from this cosine on.")
@click.option(
    "--group",
    type=click.FloatRange(0, 1),
    metavar="COS",
    help="Show one of each group of near-duplicates (0.95).",
)
@click.option(
    "--sort",
    type=click.Choice(["score", "path", "date", "size"]),
    default="score",
    help="Order of the results.",
)
@click.option("--reverse", is_flag=True, help="Turn the order round.")
@click.option(
    "--searcher",
    default="exact",
    metavar="NAME",
    help="Which searcher finds them, or a YAML mapping.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["auto", "paths", "tsv", "jsonl"]),
    default="auto",
    help="auto: score and path on a terminal, else paths.",
)
@click.option("-0", "--null", is_flag=True, help="Paths ended by NUL, for `xargs -0`.")
@click.option(
    "--sheet", type=click.Path(path_type=Path), metavar="FILE", help="Also write a contact sheet."
)
@click.option(
    "--html",
    "page",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write a page with the pictures.",
)
@click.option("--show", is_flag=True, help="Show the pictures in the terminal.")
@click.pass_context
def search(
    ctx: click.Context,
    texts: tuple[str, ...],
    queries: Any,
    folder: Path | None,
    perceptor: str | None,
    device: str,
    searcher: str,
    form: str,
    null: bool,
    sheet: Path | None,
    page: Path | None,
    show: bool,
    **asked: Any,
) -> None:
    """Find pictures of the index by texts, by pictures, or by both.

    Several TEXTs are added up. Without any term, the filters alone choose. Prints paths, best
    first; exits with 1 when nothing was found.

    \b
    pixweave search "a red boat" --since 2024-06-01
    pixweave search beach --minus people --like sunset.jpg -n 50 -0 | xargs -0 cp -t picked/
    pixweave search --queries captions.txt -n 5 > found.jsonl
    """
    from pixweave.search import open_index
    from pixweave.search.query import make_query

    if queries is not None:
        if null or sheet or page or show or form == "paths":
            raise click.UsageError(
                "--queries prints JSON lines or TSV; leave out -0, --sheet, "
                "--html, --show and --format paths"
            )
        lines = _lines(queries.read())
        with open_index(folder, perceptor, False, device, searcher, ctx.obj.plugins()) as opened:
            several = [make_query([*texts, line], **asked) for line in lines]
            found = _print_all(lines, opened.search_all(several), form)
        ctx.exit(0 if found else 1)
    kind = _terminal() if show else None
    query = make_query(texts, **asked)
    with open_index(folder, perceptor, False, device, searcher, ctx.obj.plugins()) as opened:
        hits = opened.search(query)
    if sheet or page:
        _files(hits, sheet, page, query.title)
    if kind:
        from pixweave.search.contact_sheet import in_terminal

        for text in in_terminal(hits, kind, os.get_terminal_size().columns):
            echo(text + "\n")
    else:
        _print(hits, form, null)
    ctx.exit(0 if hits else 1)


def _lines(data: bytes) -> list[str]:
    """The lines of a text that are not empty; UsageError if there is none."""
    found = [line.strip() for line in data.decode("utf-8-sig", "replace").splitlines()]
    kept = [line for line in found if line]
    if not kept:
        raise click.UsageError("--queries: there is no line of text")
    return kept


def _print_all(lines: Sequence[str], results: Iterable[list[Hit]], form: str) -> int:
    """Print the hits of each line; gives how many there are."""
    from pixweave.media import tables

    count = 0
    for line, hits in zip(lines, results, strict=True):
        for place, hit in enumerate(hits, 1):
            count += 1
            if form == "tsv":
                score = "" if hit.score is None else f"{hit.score:.6f}"
                start = tables.line({"query": line, "score": score}, "tsv")
                echo(f"{start}\t{hit.path}\n")
            else:
                click.echo(json.dumps({"query": line, "place": place, **hit.plain()}))
    return count


def _terminal() -> str:
    from pixweave.media.terminal_preview import supports

    kind = supports(sys.stdout, os.environ)
    if kind is None:
        raise RunError("this terminal shows no pictures; use --sheet FILE or --html FILE")
    return kind


def _files(hits: list[Hit], sheet: Path | None, page: Path | None, title: str) -> None:
    from pixweave.search import contact_sheet

    for path, write in (
        (sheet, contact_sheet.write_sheet),
        (page, lambda found, to: contact_sheet.write_page(found, to, title)),
    ):
        if path is None:
            continue
        writer: Callable[[Any, Path], None] = write
        if not path.absolute().parent.is_dir():
            raise MissingError(f"there is no folder '{path.absolute().parent}' for '{path.name}'")
        writer(hits, path)
        click.echo(f"wrote {path}", err=True)


def _print(hits: list[Hit], form: str, null: bool) -> None:
    from pixweave.search.contact_sheet import row

    for hit in hits:
        if null:
            echo(f"{hit.path}\0")
        elif form == "jsonl":
            click.echo(json.dumps(hit.plain()))
        elif form == "tsv":
            score = "" if hit.score is None else f"{hit.score:.6f}"
            echo(f"{score}\t{hit.path}\n")
        elif form == "auto" and sys.stdout.isatty():
            echo(row(hit) + "\n")
        else:
            echo(f"{hit.path}\n")
