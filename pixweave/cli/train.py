"""The command `train`: train a model, show its progress, print the path of the result."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pixweave.cli import completion
from pixweave.cli.run import Signals
from pixweave.pipeline.run_folder import finite

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from pixweave.events import Event
    from pixweave.train.plan import Plan

LINE_EVERY = 30.0
"""Seconds between progress lines when stderr is not a terminal."""

EVENT_EVERY = 0.1
"""Minimum seconds between two steps that --json prints."""

SHOWN = 5
"""Number of captions that --check prints per source."""


@click.command()
@click.argument("name", shell_complete=completion.trainers)
@click.argument("data", nargs=-1, type=click.Path(path_type=Path), metavar="DATA...")
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File to write the model to.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="YAML file with settings; may also set `seed` and `data`.",
)
@click.option(
    "-s",
    "--set",
    "sets",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set a value, e.g. batch=32; may be repeated.",
)
@click.option("-n", "--steps", type=int, metavar="N", help="Shorthand for --set steps=N.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0),
    metavar="M",
    help="Stop after M minutes of steps and write the model; the same command continues.",
)
@click.option("--seed", metavar="N", help="Shorthand for --set seed=N.")
@click.option(
    "--device",
    default="auto",
    metavar="NAME",
    help="Device to compute on: auto, cpu, cuda, cuda:N or mps.",
)
@click.option(
    "--work",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Folder for checkpoint, log and samples; default: next to FILE.",
)
@click.option("--fresh", is_flag=True, help="Start from scratch, even if there is a checkpoint.")
@click.option(
    "--check", is_flag=True, help="Only check the settings and the data, and print a summary."
)
@click.option("--json", "as_json", is_flag=True, help="Print events as NDJSON on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@click.pass_context
def train(
    ctx: click.Context,
    name: str,
    data: tuple[Path, ...],
    out: Path,
    config: Path | None,
    sets: tuple[str, ...],
    steps: int | None,
    minutes: float | None,
    seed: str | None,
    device: str,
    work: Path | None,
    fresh: bool,
    check: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Train a model on DATA with the trainer NAME.

    DATA is a folder of images, with captions in .txt files beside them, in a table in the folder,
    or in the file names; a .csv, .tsv or .jsonl table; or a folder with pixels.npy and
    captions.jsonl. `pixweave show NAME` lists the trainer's settings.

    Ctrl-C finishes the current step and saves a checkpoint; a second Ctrl-C stops immediately. The
    same command resumes from the checkpoint.
    """
    from pixweave.train.plan import make_plan

    short = {"steps": steps, "seed": seed}
    shorts = [f"{key}={value}" for key, value in short.items() if value is not None]
    plan = make_plan(
        ctx.obj.plugins(), name, data, out, config, [*shorts, *sets], work, device, minutes, fresh
    )
    with Signals() as signals:
        if check:
            status = _check(plan, lambda: signals.asked, as_json)
        else:
            status = _train(plan, lambda: signals.asked, as_json, quiet)
    ctx.exit(signals.exit_code if status == "interrupted" else 0)


def _train(plan: Plan, stop: Callable[[], bool], as_json: bool, quiet: bool) -> str:
    from pixweave.train.training_loop import train as perform

    if as_json:
        return perform(plan, _Json(), stop)
    if quiet:
        return perform(plan, _say, stop)
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return perform(plan, _Lines(), stop)
    with _Bar(plan, stop) as bar:
        return perform(plan, bar, stop)


class _Json:
    """Prints every event, but at most ten steps per second, and always the last."""

    def __init__(self) -> None:
        self.last = 0.0

    def __call__(self, event: Event) -> None:
        is_frequent = event.kind in ("step", "preparing")
        done, total = ("step", "steps") if event.kind == "step" else ("done", "total")
        final = is_frequent and event.data[done] == event.data[total]
        if is_frequent and not final and time.monotonic() - self.last < EVENT_EVERY:
            return
        if is_frequent:
            self.last = time.monotonic()
        click.echo(json.dumps(finite(event.plain())))
        sys.stdout.flush()


class _Lines:
    """Prints a line every LINE_EVERY seconds instead of a bar, for logs and pipes."""

    def __init__(self) -> None:
        self.last = time.monotonic()
        self.first: int | None = None

    def __call__(self, event: Event) -> None:
        data = event.data
        if event.kind in ("started", "measured"):
            click.echo(_milestone(event), err=True)
        elif event.kind in ("step", "preparing"):
            if self.first is None and event.kind == "step":
                self.first = data["step"] - 1
            if time.monotonic() - self.last >= LINE_EVERY:
                self.last = time.monotonic()
                click.echo(describe(data, self.first or 0), err=True)
        else:
            _say(event)


class _Bar:
    """A bar on a terminal: steps, speed, time left and the latest metrics."""

    def __init__(self, plan: Plan, stopping: Callable[[], bool]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.plan, self.stopping = plan, stopping
        self.task: TaskID | None = None
        self.kind = ""
        self.began, self.first = 0.0, 0
        self.progress: Progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}  {task.fields[speed]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[metrics]}", style="dim"),
            console=Console(stderr=True, highlight=False),
            refresh_per_second=4,
            transient=True,
            redirect_stdout=sys.stdout.isatty(),
        )

    def __enter__(self) -> _Bar:
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def __call__(self, event: Event) -> None:
        data = event.data
        if event.kind == "preparing":
            self._show("preparing", "preparing images", data["done"], data["total"], {})
        elif event.kind == "building":
            self._show("building", f"building {self.plan.trainer}", 0, self.plan.steps, {})
        elif event.kind == "step":
            title = "stopping" if self.stopping() else self.plan.trainer
            self._show("step", title, data["step"], data["steps"], data["metrics"])
        elif event.kind in ("started", "measured"):
            self.progress.console.print(_milestone(event), markup=False, soft_wrap=True)
        elif event.kind in ("saved", "result"):
            self.progress.stop()
            _say(event)
        else:
            _say(event)

    def _show(
        self, kind: str, title: str, done: int, total: int, metrics: Mapping[str, float]
    ) -> None:
        now = time.monotonic()
        if kind != self.kind or self.task is None:
            if self.task is not None:
                self.progress.remove_task(self.task)
            self.task = self.progress.add_task(title, total=total, speed="", metrics="")
            self.kind, self.began, self.first = kind, now, done
            self.progress.update(self.task, completed=done)
            self.progress.reset(self.task, completed=done, total=total)
        speed = _speed(done - self.first, now - self.began, "it" if kind == "step" else "images")
        self.progress.update(
            self.task, description=title, completed=done, speed=speed, metrics=_metrics(metrics)
        )


def describe(data: Mapping[str, Any], first: int = 0) -> str:
    """`120/200  8.1 it/s  0:00:10 left  loss 0.62` from the data of a step since step `first`."""
    if "total" in data:
        return f"preparing images: {data['done']}/{data['total']}"
    done, steps = data["step"], data["steps"]
    rate = (done - first) / data["seconds"] if data["seconds"] else 0.0
    left = int((steps - done) / rate) if rate else 0
    clock = f"{left // 3600}:{left % 3600 // 60:02}:{left % 60:02}"
    speed = _speed(done - first, data["seconds"], "it")
    return f"{done}/{steps}  {speed}  {clock} left  {_metrics(data['metrics'])}"


def _speed(count: int, seconds: float, unit: str) -> str:
    if count <= 0 or seconds <= 0:
        return ""
    rate = count / seconds
    return f"{rate:.1f} {unit}/s" if rate >= 1 or unit != "it" else f"{1 / rate:.1f} s/it"


def _metrics(values: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.3g}" for name, value in values.items())


def _milestone(event: Event) -> str:
    """One line for the start of the training, or for an evaluation."""
    data = event.data
    if event.kind == "measured":
        return f"step {data['step']}: {_metrics(data['measures']) or 'no measures'}"
    counted = f"{_count(data['pictures'] - data['held'], 'image')}, {data['held']} held out"
    start = f"resuming from step {data['step']} of" if data["step"] else "training for"
    return f"{start} {data['steps']} steps on {data['device']}: {counted}; see {data['work']}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _say(event: Event) -> None:
    """Print warnings and the outcome on stderr, and paths on stdout."""
    data = event.data
    if event.kind == "warning":
        click.echo(f"warning: {data['message']}", err=True)
    elif event.kind == "saved":
        click.echo(data["path"])
    elif event.kind == "result":
        click.echo(_ended(data), err=True)


def _ended(data: Mapping[str, Any]) -> str:
    steps = f"{data['steps_done']} of {data['steps']} steps"
    where = f"log and samples are in {data['work']}"
    if data["status"] == "done":
        measures = _metrics(data["measures"])
        return f"done: {measures}; {where}" if measures else f"done; {where}"
    if data["status"] == "paused":
        return f"time is up after {steps}; {where}; run the same command to continue"
    if not data["steps_done"]:
        return "stopped before the first step"
    return f"stopped after {steps}, saved in {data['work']}; run the same command to continue"


def _check(plan: Plan, stop: Callable[[], bool], as_json: bool) -> str:
    """Read all data except the pixels, and print a summary."""
    from pixweave.train.dataset import Stopped, check_sources, describe_faults

    try:
        sources, faults = check_sources(plan.data, stop)
    except Stopped:
        return "interrupted"
    parts = [(str(source.path), len(source), source.words) for source in sources]
    if as_json:
        found = [
            {"data": path, "pictures": count, "captions": sum(map(len, words.captions))}
            for path, count, words in parts
        ]
        click.echo(json.dumps({"event": "result", "ok": True, "data": found, "faults": faults}))
        return "done"
    for path, count, words in parts:
        captions = _count(sum(map(len, words.captions)), "caption")
        kinds = _count(len(set(words.labels)), "label")
        click.echo(f"{path}: {_count(count, 'image')}, {captions}, {kinds}")
        for source, texts in zip(range(SHOWN), words.captions, strict=False):
            click.echo(f"  {source + 1}: {' | '.join(texts)}")
    if faults:
        click.echo(f"warning: {describe_faults(faults)}", err=True)
    where = f"{_count(plan.steps, 'step')} at {plan.side} px, seed {plan.seed}, into {plan.out}"
    click.echo(f"trainer {plan.trainer}: {where}; work folder {plan.work}")
    return "done"
