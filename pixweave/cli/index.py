"""The verb `index`: pictures on disk are read and kept for `search`; and the options of both."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pixweave.cli.run import Signals

if TYPE_CHECKING:
    from pixweave.search import Index, Tally

LINE_EVERY = 10.0
"""Seconds between two lines of progress where there is no terminal."""

index_option = click.option(
    "--index", "folder", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
    help="Folder of the index; by default PIXWEAVE_INDEX, else one for all of your pictures.",
)  # fmt: skip
perceptor_option = click.option(
    "--perceptor", metavar="NAME",
    help="What sees: a perceptor, open_clip:MODEL/TAG, or a YAML mapping as in a recipe.",
)  # fmt: skip
device_option = click.option("--device", default="auto", metavar="NAME",
                       help="Where it computes: auto, cpu, cuda, cuda:N, mps.")  # fmt: skip


def _colour(_: click.Context, __: click.Parameter, text: str) -> tuple[int, ...]:
    from PIL import ImageColor

    try:
        return ImageColor.getrgb(text)[:3]
    except ValueError:
        raise click.BadParameter(f"{text!r} is no colour; write white or #ff8800") from None


@click.command()
@click.argument("inputs", nargs=-1, metavar="[DIR|FILE|GLOB]...")
@index_option
@perceptor_option
@device_option
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
@click.option("--executor", metavar="NAME",
              help="Who does the work: local (processes), ray (machines), or a YAML mapping "
              "{use: local, workers: 4}; by default this process.")  # fmt: skip
@click.option("--shard", type=click.IntRange(1), metavar="N",
              help="Pictures in a piece of work for an executor; else four batches.")  # fmt: skip
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
    from pixweave.loading import read_list

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
        if not quiet and not told and tally.by:
            told = True
            _say(f"seen by {tally.by}", live)
        for fault in tally.faults:
            if as_json:
                click.echo(json.dumps({"event": "broken", "path": fault.path,
                                       "reason": fault.reason}))  # fmt: skip
            else:
                echo(f"{fault.path}\t{fault.reason}\n")
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


def _numbers(tally: Tally) -> dict[str, Any]:
    return {
        "seen": tally.seen, "encoded": tally.encoded, "reused": tally.reused,
        "unchanged": tally.unchanged, "merged": tally.merged, "broken": tally.broken,
        "broken_before": tally.already, "removed": tally.removed, "committed": tally.committed,
        "other_files": tally.others, "seconds": round(tally.seconds, 3), "stopped": tally.stopped,
        "spared": tally.spared,
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
    if tally.merged:
        lines.insert(0, f"{tally.merged} were taken over from a run that was broken off")
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
            echo(f"{path}\t{reason}\n")


def _self_check(ctx: click.Context, perceptor: str, device: str) -> int:
    from pixweave.embedding.embedder import open_encoder

    encoder = open_encoder(ctx.obj.plugins(), perceptor, device)
    found = encoder.self_check()
    click.echo(f"{encoder.info}: pictures agree to {found.pictures:.6f}, texts to "
               f"{found.texts:.6f} (least cosine of {found.count}); {found.verdict}")  # fmt: skip
    return 0 if found.ok else 1


def echo(text: str) -> None:
    """Print text whose names may be no text: their own bytes come out."""
    click.echo(os.fsencode(text), nl=False)


VERBS = (index,)
