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
    from pixweave.search import Index, IndexProgress

LINE_EVERY = 10.0
"""Seconds between two lines of progress where there is no terminal."""

index_option = click.option(
    "--index",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of the index; by default PIXWEAVE_INDEX, else one for all of your pictures.",
)
perceptor_option = click.option(
    "--perceptor",
    metavar="NAME",
    help="What sees: a perceptor, open_clip:MODEL/TAG, or a YAML mapping as in a recipe.",
)
device_option = click.option(
    "--device",
    default="auto",
    metavar="NAME",
    help="Where it computes: auto, cpu, cuda, cuda:N, mps.",
)


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
@click.option(
    "--background",
    default="white",
    callback=_colour,
    metavar="COLOUR",
    help="What shows through transparent pictures.",
)
@click.option(
    "--frames",
    type=click.IntRange(1, 64),
    default=1,
    metavar="N",
    help="Look at N pictures of an animated file, evenly spread.",
)
@click.option("--batch", type=click.IntRange(1), metavar="N", help="Pictures encoded at a time.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    metavar="N",
    help="Threads that read; by default one for each core.",
)
@click.option(
    "--executor",
    metavar="NAME",
    help="Who does the work: local (processes), ray (machines), or a YAML mapping "
    "{use: local, workers: 4}; by default this process.",
)
@click.option(
    "--shard",
    type=click.IntRange(1),
    metavar="N",
    help="Pictures in a piece of work for an executor; else four batches.",
)
@click.option("--retry", is_flag=True, help="Read again what was broken before.")
@click.option("--rehash", is_flag=True, help="Read all files, also those that seem unchanged.")
@click.option(
    "--purge", is_flag=True, help="Drop the pictures even of a folder in which nothing is left."
)
@click.option("--status", is_flag=True, help="Say what is in the index, and change nothing.")
@click.option("--broken", is_flag=True, help="List every broken file and why; change nothing.")
@click.option(
    "--self-check", is_flag=True, help="Compare the perceptor with its reference; change nothing."
)
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
    from pixweave.search import IndexOptions, open_index

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
        wish = IndexOptions(_inputs(inputs), **wishes)
        with Signals() as signals:
            progress = _watch(opened, wish, signals, as_json, quiet)
        ctx.exit(signals.exit_code if progress.stopped else 0)


def _inputs(given: Iterable[str]) -> list[str]:
    from pixweave.loading import read_list

    found: list[str] = []
    for one in given:
        found += read_list(sys.stdin.buffer.read()) if one == "-" else [one]
    return found


def _watch(opened: Index, wish: Any, signals: Signals, as_json: bool, quiet: bool) -> IndexProgress:
    """Run it, with faults on stdout and progress on stderr; gives the last word."""
    from pixweave.search import IndexProgress

    progress, last = IndexProgress(), time.monotonic()
    live = sys.stderr.isatty() and not quiet and not as_json
    told = False
    for progress in opened.update(wish, lambda: signals.asked):
        if not quiet and not told and progress.by:
            told = True
            _say(f"seen by {progress.by}", live)
        for fault in progress.unreadable:
            if as_json:
                click.echo(
                    json.dumps({"event": "broken", "path": fault.path, "reason": fault.reason})
                )
            else:
                echo(f"{fault.path}\t{fault.reason}\n")
        if as_json:
            click.echo(json.dumps({"event": "progress", **_numbers(progress)}))
            sys.stdout.flush()
        elif live:
            click.echo(f"\r\x1b[K{_line(progress)}", nl=False, err=True)
        elif not quiet and time.monotonic() - last >= LINE_EVERY:
            last = time.monotonic()
            click.echo(_line(progress), err=True)
    if as_json:
        click.echo(json.dumps({"event": "result", "ok": True, **_numbers(progress)}))
    elif not quiet:
        _say(_summary(progress, opened), live)
    return progress


def _say(text: str, live: bool) -> None:
    click.echo(f"\r\x1b[K{text}" if live else text, err=True)


def _numbers(progress: IndexProgress) -> dict[str, Any]:
    return {
        "seen": progress.seen,
        "encoded": progress.encoded,
        "reused": progress.reused,
        "unchanged": progress.unchanged,
        "merged": progress.merged,
        "broken": progress.broken,
        "broken_before": progress.already,
        "removed": progress.removed,
        "committed": progress.committed,
        "other_files": progress.others,
        "seconds": round(progress.seconds, 3),
        "stopped": progress.stopped,
        "spared": progress.spared,
    }


def _line(progress: IndexProgress) -> str:
    return (
        f"{progress.committed} done, {progress.unchanged} unchanged, {progress.rate:.1f} pictures/s"
    )


def _summary(progress: IndexProgress, opened: Index) -> str:
    words = [
        f"{progress.encoded} encoded",
        f"{progress.reused} known by content",
        f"{progress.unchanged} unchanged",
        f"{progress.broken + progress.already} broken",
        f"{progress.removed} removed",
    ]
    good, _ = opened.store.counts()
    lines = [f"{', '.join(words)}; {progress.rate:.1f} pictures/s; {good} in the index"]
    lines += [
        f"warning: nothing is left in '{root}', and its pictures stay in the index; "
        "if they are gone for good, use --purge"
        for root in progress.spared
    ]
    if progress.merged:
        lines.insert(0, f"{progress.merged} were taken over from a run that was broken off")
    if progress.stopped:
        lines.insert(0, "stopped; all finished batches are kept, the same command goes on")
    return "\n".join(lines)


def _show_status(opened: Index, as_json: bool) -> None:
    store = opened.store
    good, bad = store.counts()
    models = [
        {
            "perceptor": json.loads(m.perceptor),
            "identity": m.identity,
            "look": m.preprocessing,
            "dim": m.dim,
            "vectors": m.count,
        }
        for m in store.models()
    ]
    if as_json:
        click.echo(
            json.dumps(
                {"folder": str(store.folder), "files": good, "broken": bad, "models": models}
            )
        )
        return
    click.echo(f"{store.folder}: {good} pictures, {bad} broken files")
    for model in models:
        click.echo(
            f"{model['vectors']} vectors of {model['dim']} by {model['identity']}, "
            f"pictures read as {model['look']}"
        )


def _list_broken(opened: Index, as_json: bool) -> None:
    for path, reason in opened.store.broken():
        if as_json:
            click.echo(json.dumps({"path": path, "reason": reason}))
        else:
            echo(f"{path}\t{reason}\n")


def _self_check(ctx: click.Context, perceptor: str, device: str) -> int:
    from pixweave.engine.embedders import open_embedder

    embedder = open_embedder(ctx.obj.plugins(), perceptor, device)
    from pixweave.embedding.self_check import check_agreement

    found = check_agreement(embedder)
    click.echo(
        f"{embedder.info}: pictures agree to {found.pictures:.6f}, texts to "
        f"{found.texts:.6f} (least cosine of {found.count}); {found.verdict}"
    )
    return 0 if found.ok else 1


def echo(text: str) -> None:
    """Print text whose names may be no text: their own bytes come out."""
    click.echo(os.fsencode(text), nl=False)
