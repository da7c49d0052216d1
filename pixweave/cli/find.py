"""The verbs `index` and `search`: pictures on disk, found by what they show."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pixweave.cli.run import Signals
from pixweave.errors import MissingError, RunError

if TYPE_CHECKING:
    from pixweave.search import Hit, Index, Query, Tally

LINE_EVERY = 10.0
"""Seconds between two lines of progress where there is no terminal."""

_index = click.option(
    "--index", "folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Folder of the index; by default PIXWEAVE_INDEX, else one for all of your pictures.",
)  # fmt: skip
_perceptor = click.option(
    "--perceptor", metavar="NAME",
    help="What sees: a perceptor, open_clip:MODEL/TAG, or a YAML mapping as in a recipe.",
)  # fmt: skip
_device = click.option("--device", default="auto", metavar="NAME",
                       help="Where it computes: auto, cpu, cuda, cuda:N, mps.")  # fmt: skip


def _colour(_: click.Context, __: click.Parameter, text: str) -> tuple[int, ...]:
    from PIL import ImageColor

    try:
        return ImageColor.getrgb(text)[:3]
    except ValueError:
        raise click.BadParameter(f"{text!r} is no colour; write white or #ff8800") from None


@click.command()
@click.argument("inputs", nargs=-1, metavar="[DIR|FILE|GLOB]...")
@_index
@_perceptor
@_device
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave out names or paths like it.")
@click.option("--hidden", is_flag=True, help="Take hidden files and folders too.")
@click.option("--tag", "tags", multiple=True, metavar="WORD", help="Give all that is found a tag.")
@click.option("--background", default="white", callback=_colour, metavar="COLOUR",
              help="What shows through transparent pictures.")  # fmt: skip
@click.option("--frames", type=click.IntRange(1, 64), default=1, metavar="N",
              help="Look at N pictures of an animated file, evenly spread.")  # fmt: skip
@click.option("--batch", type=click.IntRange(1), metavar="N", help="Pictures encoded at a time.")
@click.option("--workers", type=click.IntRange(1), metavar="N",
              help="Threads that read; by default one for each core.")  # fmt: skip
@click.option("--retry", is_flag=True, help="Read again what was broken before.")
@click.option("--rehash", is_flag=True, help="Read all files, also those that seem unchanged.")
@click.option("--purge", is_flag=True,
              help="Drop the pictures even of a folder in which nothing is left.")  # fmt: skip
@click.option("--status", is_flag=True, help="Say what is in the index, and change nothing.")
@click.option("--broken", is_flag=True, help="List every broken file and why; change nothing.")
@click.option("--self-check", is_flag=True,
              help="Compare the perceptor with its reference; change nothing.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print events as NDJSON on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@click.pass_context
def index(
    ctx: click.Context,
    inputs: tuple[str, ...],
    folder: Path | None,
    perceptor: str | None,
    device: str,
    status: bool,
    broken: bool,
    self_check: bool,
    as_json: bool,
    quiet: bool,
    **wishes: Any,
) -> None:
    """Index pictures, so that `pixweave search` finds them; again, to bring it up to date.

    Takes folders, files and globs; `-` reads paths from standard input, ended by NUL or by line.
    Only what is new is read and encoded; what was moved or renamed is not, and what is gone is
    dropped. Broken files are printed with their reason and are not tried again until they change.
    Ctrl-C keeps all that is finished.
    """
    from pixweave.search import Wish, open_index

    if self_check:
        ctx.exit(_self_check(ctx, perceptor or "tiny", device))
    looks = status or broken
    if not looks and not inputs:
        raise click.UsageError("name folders or files to index, or use --status")
    with open_index(folder, perceptor, not looks, device, plugins=ctx.obj.plugins()) as opened:
        if looks:
            (_list_broken if broken else _show_status)(opened, as_json)
            return
        wishes = {name: value for name, value in wishes.items() if value is not None}
        wish = Wish(_inputs(inputs), **wishes)
        with Signals() as signals:
            tally = _watch(opened, wish, signals, as_json, quiet)
        ctx.exit(signals.exit_code if tally.stopped else 0)


def _inputs(given: Iterable[str]) -> list[str]:
    from pixweave.pictures import read_list

    found: list[str] = []
    for one in given:
        found += read_list(sys.stdin.buffer.read()) if one == "-" else [one]
    return found


def _watch(opened: Index, wish: Any, signals: Signals, as_json: bool, quiet: bool) -> Tally:
    """Run it, with faults on stdout and progress on stderr; gives the last word."""
    from pixweave.search import Tally

    tally, last = Tally(), time.monotonic()
    live = sys.stderr.isatty() and not quiet and not as_json
    told = False
    for tally in opened.update(wish, lambda: signals.asked):
        if not quiet and not told and tally.encoded:
            told = True
            _say(f"seen by {opened.encoder.info}; {_readers(wish)}", live)
        for fault in tally.faults:
            if as_json:
                click.echo(json.dumps({"event": "broken", "path": fault.path,
                                       "reason": fault.reason}))  # fmt: skip
            else:
                _echo(f"{fault.path}\t{fault.reason}\n")
        if as_json:
            click.echo(json.dumps({"event": "progress", **_numbers(tally)}))
            sys.stdout.flush()
        elif live:
            click.echo(f"\r\x1b[K{_line(tally)}", nl=False, err=True)
        elif not quiet and time.monotonic() - last >= LINE_EVERY:
            last = time.monotonic()
            click.echo(_line(tally), err=True)
    if as_json:
        click.echo(json.dumps({"event": "result", "ok": True, **_numbers(tally)}))
    elif not quiet:
        _say(_summary(tally, opened), live)
    return tally


def _say(text: str, live: bool) -> None:
    click.echo(f"\r\x1b[K{text}" if live else text, err=True)


def _readers(wish: Any) -> str:
    from pixweave.pictures.reader import cores

    count = wish.workers or cores()
    return f"{count} reading thread{'' if count == 1 else 's'}"


def _numbers(tally: Tally) -> dict[str, Any]:
    return {
        "seen": tally.seen, "encoded": tally.encoded, "reused": tally.reused,
        "unchanged": tally.unchanged, "broken": tally.broken, "broken_before": tally.already,
        "removed": tally.removed, "committed": tally.committed, "other_files": tally.others,
        "seconds": round(tally.seconds, 3), "stopped": tally.stopped, "spared": tally.spared,
    }  # fmt: skip


def _line(tally: Tally) -> str:
    return f"{tally.committed} done, {tally.unchanged} unchanged, {tally.rate:.1f} pictures/s"


def _summary(tally: Tally, opened: Index) -> str:
    words = [
        f"{tally.encoded} encoded", f"{tally.reused} known by content",
        f"{tally.unchanged} unchanged", f"{tally.broken + tally.already} broken",
        f"{tally.removed} removed",
    ]  # fmt: skip
    good, _ = opened.store.counts()
    lines = [f"{', '.join(words)}; {tally.rate:.1f} pictures/s; {good} in the index"]
    lines += [
        f"warning: nothing is left in '{root}', and its pictures stay in the index; "
        "if they are gone for good, use --purge"
        for root in tally.spared
    ]
    if tally.stopped:
        lines.insert(0, "stopped; all finished batches are kept, the same command goes on")
    return "\n".join(lines)


def _show_status(opened: Index, as_json: bool) -> None:
    store = opened.store
    good, bad = store.counts()
    models = [
        {"perceptor": json.loads(m.perceptor), "identity": m.identity, "look": m.look,
         "dim": m.dim, "vectors": m.count} for m in store.models()
    ]  # fmt: skip
    if as_json:
        click.echo(json.dumps({"folder": str(store.folder), "files": good, "broken": bad,
                               "models": models}))  # fmt: skip
        return
    click.echo(f"{store.folder}: {good} pictures, {bad} broken files")
    for model in models:
        click.echo(f"{model['vectors']} vectors of {model['dim']} by {model['identity']}, "
                   f"pictures read as {model['look']}")  # fmt: skip


def _list_broken(opened: Index, as_json: bool) -> None:
    for path, reason in opened.store.broken():
        if as_json:
            click.echo(json.dumps({"path": path, "reason": reason}))
        else:
            _echo(f"{path}\t{reason}\n")


def _self_check(ctx: click.Context, perceptor: str, device: str) -> int:
    from pixweave.encoder import open_encoder

    encoder = open_encoder(ctx.obj.plugins(), perceptor, device)
    found = encoder.self_check()
    click.echo(f"{encoder.info}: pictures agree to {found.pictures:.6f}, texts to "
               f"{found.texts:.6f} (least cosine of {found.count}); {found.verdict}")  # fmt: skip
    return 0 if found.ok else 1


def _day(_: click.Context, __: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise click.BadParameter(f"{text!r} is no date; write 2024-05-31") from None


def _bytes(_: click.Context, __: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    number = text.lower().removesuffix("b")
    factor = {"k": 1000, "m": 1000**2, "g": 1000**3}.get(number[-1:], 1)
    try:
        return int(float(number.rstrip("kmg")) * factor)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no size; write 500k, 2MB") from None


@click.command()
@click.argument("texts", nargs=-1, metavar="[TEXT]...")
@_index
@_perceptor
@_device
@click.option("--like", multiple=True, metavar="FILE", help="Look for pictures like this one.")
@click.option("-t", "--term", "terms", multiple=True, type=(float, str), metavar="WEIGHT TEXT",
              help="A text that counts so much; below 0 it is subtracted.")  # fmt: skip
@click.option("--image", "images", multiple=True, type=(float, str), metavar="WEIGHT FILE",
              help="A picture that counts so much.")  # fmt: skip
@click.option("--minus", multiple=True, metavar="TEXT", help="Short for --term -0.5 TEXT.")
@click.option("--not", "nots", multiple=True, metavar="TEXT",
              help="Drop the pictures that clearly show TEXT, not subtract it.")  # fmt: skip
@click.option("--not-above", type=float, default=1.5, metavar="Z",
              help="What is clearly: standard deviations above the mean of the index.")  # fmt: skip
@click.option("--label", "labels", multiple=True, type=(str, float), metavar="TEXT Z",
              help="Keep the pictures that show TEXT at least so clearly.")  # fmt: skip
@click.option("--in", "under", multiple=True, metavar="DIR", help="Only below this folder.")
@click.option("--name", multiple=True, metavar="GLOB", help="Only files or paths named like it.")
@click.option("--since", callback=_day, metavar="DATE", help="Only taken on this day or later.")
@click.option("--until", callback=_day, metavar="DATE", help="Only taken before this day.")
@click.option("--min-bytes", callback=_bytes, metavar="SIZE", help="Only files of at least SIZE.")
@click.option("--max-bytes", callback=_bytes, metavar="SIZE", help="Only files of at most SIZE.")
@click.option("--min-side", type=int, metavar="PX", help="Only pictures whose short side is PX.")
@click.option("--type", "types", multiple=True, metavar="KIND", help="Only jpeg, png, gif...")
@click.option("--tag", "tags", multiple=True, metavar="WORD", help="Only with this tag.")
@click.option("-n", "--top", type=click.IntRange(1), default=20, metavar="N", help="How many.")
@click.option("--skip", type=click.IntRange(0), default=0, metavar="N", help="Leave the first out.")
@click.option("--cut", type=click.FloatRange(0, 1), metavar="SHARE",
              help="Only those at least this far from the mean score to the best.")  # fmt: skip
@click.option("--min-score", "least", type=float, metavar="COS", help="Only from this cosine on.")
@click.option("--group", type=click.FloatRange(0, 1), metavar="COS",
              help="Show one of each group of near-duplicates (0.95).")  # fmt: skip
@click.option("--sort", type=click.Choice(["score", "path", "date", "size"]), default="score",
              help="Order of the results.")  # fmt: skip
@click.option("--reverse", is_flag=True, help="Turn the order round.")
@click.option("--searcher", default="exact", metavar="NAME",
              help="Which searcher finds them, or a YAML mapping.")  # fmt: skip
@click.option("--format", "form", type=click.Choice(["auto", "paths", "tsv", "jsonl"]),
              default="auto", help="auto: score and path on a terminal, else paths.")  # fmt: skip
@click.option("-0", "--null", is_flag=True, help="Paths ended by NUL, for `xargs -0`.")
@click.option("--sheet", type=click.Path(path_type=Path), metavar="FILE",
              help="Also write a contact sheet.")  # fmt: skip
@click.option("--html", "page", type=click.Path(path_type=Path), metavar="FILE",
              help="Also write a page with the pictures.")  # fmt: skip
@click.option("--show", is_flag=True, help="Show the pictures in the terminal.")
@click.pass_context
def search(
    ctx: click.Context,
    texts: tuple[str, ...],
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
    """
    from pixweave.search import open_index

    kind = _terminal() if show else None
    query = _query(texts, **asked)
    with open_index(folder, perceptor, False, device, searcher, ctx.obj.plugins()) as opened:
        hits = opened.search(query)
    if sheet or page:
        _files(hits, sheet, page, _title(query))
    if kind:
        from pixweave.search.show import in_terminal

        for text in in_terminal(hits, kind, os.get_terminal_size().columns):
            _echo(text + "\n")
    else:
        _print(hits, form, null)
    ctx.exit(0 if hits else 1)


def _query(
    texts: Iterable[str], like: Any, terms: Any, images: Any, minus: Any, nots: Any,
    not_above: float, labels: Any, **rest: Any,
) -> Query:  # fmt: skip
    from dataclasses import fields

    from pixweave.search import Bound, Filters, Query, Term

    found = [Term(text) for text in texts] + [Term(path, 1.0, True) for path in like]
    found += [Term(text, weight) for weight, text in terms]
    found += [Term(path, weight, True) for weight, path in images]
    found += [Term(text, -0.5) for text in minus]
    bounds = [Bound(text, not_above, below=True) for text in nots]
    bounds += [Bound(text, least) for text, least in labels]
    own = {f.name for f in fields(Filters)}
    filters = Filters(**{name: value for name, value in rest.items() if name in own})
    others = {name: value for name, value in rest.items() if name not in own}
    return Query(found, bounds, filters, **others)


def _terminal() -> str:
    from pixweave.preview import supports

    kind = supports(sys.stdout, os.environ)
    if kind is None:
        raise RunError("this terminal shows no pictures; use --sheet FILE or --html FILE")
    return kind


def _files(hits: list[Hit], sheet: Path | None, page: Path | None, title: str) -> None:
    from pixweave.search import show

    for path, write in (
        (sheet, show.write_sheet),
        (page, lambda found, to: show.write_page(found, to, title)),
    ):
        if path is None:
            continue
        writer: Callable[[Any, Path], None] = write
        if not path.absolute().parent.is_dir():
            raise MissingError(f"there is no folder '{path.absolute().parent}' for '{path.name}'")
        writer(hits, path)
        click.echo(f"wrote {path}", err=True)


def _title(query: Query) -> str:
    words = [os.path.basename(term.what) if term.is_file else term.what for term in query.terms]
    return " + ".join(words) or "pictures"


def _print(hits: list[Hit], form: str, null: bool) -> None:
    from pixweave.search.show import row

    for hit in hits:
        if null:
            _echo(f"{hit.path}\0")
        elif form == "jsonl":
            click.echo(json.dumps(hit.plain()))
        elif form == "tsv":
            score = "" if hit.score is None else f"{hit.score:.6f}"
            _echo(f"{score}\t{hit.path}\n")
        elif form == "auto" and sys.stdout.isatty():
            _echo(row(hit) + "\n")
        else:
            _echo(f"{hit.path}\n")


def _echo(text: str) -> None:
    """Print text whose names may be no text: their own bytes come out."""
    click.echo(os.fsencode(text), nl=False)


VERBS = (index, search)
