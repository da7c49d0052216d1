"""The command `index`: encode images on disk for `search`; and options that both share."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pixweave.cli import completion
from pixweave.cli.run import Signals

if TYPE_CHECKING:
    from pixweave.search import Index, IndexOptions, IndexProgress

LINE_EVERY = 10.0
"""Seconds between progress lines when stderr is not a terminal."""

index_option = click.option(
    "--index",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder of the index; default: PIXWEAVE_INDEX, else one index per user.",
)
perceptor_option = click.option(
    "--perceptor",
    shell_complete=completion.perceptors,
    metavar="NAME",
    help="Perceptor to use: a name, open_clip:MODEL/TAG, or a YAML mapping as in a recipe.",
)
device_option = click.option(
    "--device",
    default="auto",
    metavar="NAME",
    help="Device to compute on: auto, cpu, cuda, cuda:N or mps.",
)


def _colour(_: click.Context, __: click.Parameter, text: str) -> tuple[int, ...]:
    from PIL import ImageColor

    try:
        return ImageColor.getrgb(text)[:3]
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not a valid colour; write white or #ff8800"
        ) from None


@click.command()
@click.argument("inputs", nargs=-1, metavar="[DIR|FILE|GLOB]...")
@index_option
@perceptor_option
@device_option
@click.option(
    "--exclude", multiple=True, metavar="GLOB", help="Skip names or paths that match GLOB."
)
@click.option("--hidden", is_flag=True, help="Include hidden files and folders.")
@click.option(
    "--tag", "tags", multiple=True, metavar="WORD", help="Add a tag to every image found."
)
@click.option(
    "--background",
    default="white",
    callback=_colour,
    metavar="COLOUR",
    help="Background colour for transparent images.",
)
@click.option(
    "--frames",
    type=click.IntRange(1, 64),
    default=1,
    metavar="N",
    help="Number of frames to encode per animated file, evenly spaced.",
)
@click.option(
    "--batch", type=click.IntRange(1), metavar="N", help="Batch size: images encoded at a time."
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    metavar="N",
    help="Reader threads; default: one per core.",
)
@click.option(
    "--executor",
    shell_complete=completion.executors,
    metavar="NAME",
    help="Executor: local (processes), ray (machines), or a YAML mapping such as "
    "{use: local, workers: 4}; default: this process.",
)
@click.option(
    "--shard",
    type=click.IntRange(1),
    metavar="N",
    help="Images per task of an executor; default: four batches.",
)
@click.option("--retry", is_flag=True, help="Try broken files again.")
@click.option("--rehash", is_flag=True, help="Read all files again, even if they seem unchanged.")
@click.option(
    "--purge",
    is_flag=True,
    help="Also drop the images of a folder if none of its indexed images is left.",
)
@click.option("--status", is_flag=True, help="Show what the index contains; change nothing.")
@click.option(
    "--broken", is_flag=True, help="List every broken file with the reason; change nothing."
)
@click.option(
    "--self-check",
    is_flag=True,
    help="Compare the perceptor with its reference implementation; change nothing.",
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
    **options: Any,
) -> None:
    """Index images for `pixweave search`.

    Run it again to update the index. Takes folders, files and globs; `-` reads paths from standard
    input, separated by newlines or NUL. Only new files are encoded; moved or renamed files are
    recognised, and files that no longer exist are dropped. Broken files are printed with the reason
    and are not tried again until they change. Ctrl-C keeps everything that is finished.
    """
    from pixweave.search import IndexOptions, open_index

    if self_check:
        ctx.exit(_self_check(ctx, perceptor or "tiny", device))
    read_only = status or broken
    if not read_only and not inputs:
        raise click.UsageError("name folders or files to index, or use --status")
    with open_index(folder, perceptor, not read_only, device, plugins=ctx.obj.plugins()) as opened:
        if read_only:
            (_list_broken if broken else _show_status)(opened, as_json)
            return
        given = {name: value for name, value in options.items() if value is not None}
        index_options = IndexOptions(_inputs(inputs), **given)
        with Signals() as signals:
            progress = _watch(opened, index_options, signals, as_json, quiet)
        ctx.exit(signals.exit_code if progress.stopped else 0)


def _inputs(given: Iterable[str]) -> list[str]:
    from pixweave.loading import read_list

    found: list[str] = []
    for item in given:
        found += read_list(sys.stdin.buffer.read()) if item == "-" else [item]
    return found


def _watch(
    opened: Index, options: IndexOptions, signals: Signals, as_json: bool, quiet: bool
) -> IndexProgress:
    """Run the update, with broken files on stdout and progress on stderr; the final progress."""
    from pixweave.search import IndexProgress

    progress, last = IndexProgress(), time.monotonic()
    on_terminal = sys.stderr.isatty() and not quiet and not as_json
    reported = False
    for progress in opened.update(options, lambda: signals.asked):
        if not quiet and not reported and progress.by:
            reported = True
            _say(f"encoding with {progress.by}", on_terminal)
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
        elif on_terminal:
            click.echo(f"\r\x1b[K{_line(progress)}", nl=False, err=True)
        elif not quiet and time.monotonic() - last >= LINE_EVERY:
            last = time.monotonic()
            click.echo(_line(progress), err=True)
    if as_json:
        click.echo(json.dumps({"event": "result", "ok": True, **_numbers(progress)}))
    elif not quiet:
        _say(_summary(progress, opened), on_terminal)
    return progress


def _say(text: str, on_terminal: bool) -> None:
    click.echo(f"\r\x1b[K{text}" if on_terminal else text, err=True)


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
        f"{progress.committed} done, {progress.unchanged} unchanged, {progress.rate:.1f} images/s"
    )


def _summary(progress: IndexProgress, opened: Index) -> str:
    counts = [
        f"{progress.encoded} encoded",
        f"{progress.reused} reused (same content)",
        f"{progress.unchanged} unchanged",
        f"{progress.broken + progress.already} broken",
        f"{progress.removed} removed",
    ]
    good, _ = opened.store.counts()
    lines = [f"{', '.join(counts)}; {progress.rate:.1f} images/s; {good} in the index"]
    lines += [
        f"warning: none of the indexed images in '{root}' are left; they stay in the index; "
        "if they are gone for good, use --purge"
        for root in progress.spared
    ]
    if progress.merged:
        lines.insert(0, f"{progress.merged} recovered from an interrupted run")
    if progress.stopped:
        lines.insert(
            0, "stopped; all finished batches are kept; run the same command again to continue"
        )
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
    click.echo(f"{store.folder}: {good} images, {bad} broken files")
    for model in models:
        click.echo(
            f"{model['vectors']} vectors of {model['dim']} dimensions by {model['identity']}, "
            f"preprocessing {model['look']}"
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

    agreement = check_agreement(embedder)
    click.echo(
        f"{embedder.info}: images agree to {agreement.pictures:.6f}, texts to "
        f"{agreement.texts:.6f} (lowest cosine of {agreement.count}); {agreement.verdict}"
    )
    return 0 if agreement.ok else 1


def echo(text: str) -> None:
    """Print text with file names that may not be valid Unicode: their bytes are kept."""
    click.echo(os.fsencode(text), nl=False)
