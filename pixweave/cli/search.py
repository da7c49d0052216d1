"""The command `search`: find images of an index by text or by example images."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pixweave.cli import completion, search_filters
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
    help="Run one search per line of FILE (-: stdin), combined with the other options; prints "
    "JSON lines or TSV, each result with its query.",
)
@click.option("--like", multiple=True, metavar="FILE", help="Find images similar to this one.")
@click.option(
    "-t",
    "--term",
    "terms",
    multiple=True,
    type=(float, str),
    metavar="WEIGHT TEXT",
    help="A text with a weight; a negative weight subtracts it.",
)
@click.option(
    "--image",
    "images",
    multiple=True,
    type=(float, str),
    metavar="WEIGHT FILE",
    help="An example image with a weight.",
)
@click.option("--minus", multiple=True, metavar="TEXT", help="Shorthand for --term -0.5 TEXT.")
@click.option(
    "--not",
    "nots",
    multiple=True,
    metavar="TEXT",
    help="Exclude images that clearly show TEXT, instead of subtracting it.",
)
@click.option(
    "--not-above",
    type=float,
    default=1.5,
    metavar="Z",
    help="Threshold for --not, in standard deviations above the mean of the index.",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    type=(str, float),
    metavar="TEXT Z",
    help="Keep only images whose score for TEXT is at least Z standard deviations above the mean.",
)
@search_filters.options
@click.option(
    "-n", "--top", type=click.IntRange(1), default=20, metavar="N", help="Number of results."
)
@click.option(
    "--skip", type=click.IntRange(0), default=0, metavar="N", help="Skip the first N results."
)
@click.option(
    "--cut",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Keep results at least this fraction of the way from the mean to the best score.",
)
@click.option("--min-score", "least", type=float, metavar="COS", help="Minimum cosine similarity.")
@click.option(
    "--group",
    type=click.FloatRange(0, 1),
    metavar="COS",
    help="Show one image per group of near-duplicates, of at least this cosine (try 0.95).",
)
@click.option(
    "--sort",
    type=click.Choice(["score", "path", "date", "size"]),
    default="score",
    help="Order of the results.",
)
@click.option("--reverse", is_flag=True, help="Reverse the order.")
@click.option(
    "--searcher",
    shell_complete=completion.searchers,
    default="exact",
    metavar="NAME",
    help="Searcher to use: a name, or a YAML mapping with its settings.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["auto", "paths", "tsv", "jsonl"]),
    default="auto",
    help="Output format; auto: score and path on a terminal, else paths.",
)
@click.option("-0", "--null", is_flag=True, help="End each path with NUL, for `xargs -0`.")
@click.option(
    "--sheet", type=click.Path(path_type=Path), metavar="FILE", help="Also write a contact sheet."
)
@click.option(
    "--html",
    "page",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Also write an HTML page with the images.",
)
@click.option("--show", is_flag=True, help="Show the images in the terminal.")
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
    **terms: Any,
) -> None:
    """Search the index for images by text, by example images, or both.

    Several TEXTs are added. Without text or image, only the filters apply. Prints paths, best
    first; the exit code is 1 if nothing was found.

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
                "--queries prints JSON lines or TSV; remove -0, --sheet, "
                "--html, --show and --format paths"
            )
        lines = _lines(queries.read())
        with open_index(folder, perceptor, False, device, searcher, ctx.obj.plugins()) as opened:
            batch = [make_query([*texts, line], **terms) for line in lines]
            found = _print_all(lines, opened.search_all(batch), form)
        ctx.exit(0 if found else 1)
    kind = _terminal() if show else None
    query = make_query(texts, **terms)
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
    """The non-empty lines of UTF-8 text; UsageError if there are none."""
    stripped = [line.strip() for line in data.decode("utf-8-sig", "replace").splitlines()]
    lines = [line for line in stripped if line]
    if not lines:
        raise click.UsageError("--queries: the file has no text")
    return lines


def _print_all(lines: Sequence[str], results: Iterable[list[Hit]], form: str) -> int:
    """Print the hits of each query; returns the number of hits."""
    from pixweave.media import tables

    count = 0
    for line, hits in zip(lines, results, strict=True):
        for rank, hit in enumerate(hits, 1):
            count += 1
            if form == "tsv":
                score = "" if hit.score is None else f"{hit.score:.6f}"
                start = tables.line({"query": line, "score": score}, "tsv")
                echo(f"{start}\t{hit.path}\n")
            else:
                click.echo(json.dumps({"query": line, "place": rank, **hit.plain()}))
    return count


def _terminal() -> str:
    from pixweave.media.terminal_preview import supports

    kind = supports(sys.stdout, os.environ)
    if kind is None:
        raise RunError("this terminal cannot show images; use --sheet FILE or --html FILE")
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
            raise MissingError(f"folder '{path.absolute().parent}' for '{path.name}' not found")
        writer(hits, path)
        click.echo(f"wrote {path}", err=True)


def _print(hits: list[Hit], form: str, null: bool) -> None:
    for hit in hits:
        if null:
            echo(f"{hit.path}\0")
        elif form == "jsonl":
            click.echo(json.dumps(hit.plain()))
        elif form == "tsv":
            score = "" if hit.score is None else f"{hit.score:.6f}"
            echo(f"{score}\t{hit.path}\n")
        elif form == "auto" and sys.stdout.isatty():
            from pixweave.search.contact_sheet import row

            echo(row(hit) + "\n")
        else:
            echo(f"{hit.path}\n")
