"""The command `run`: run a recipe, show its progress, print the paths of the results."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pixweave.cli import completion
from pixweave.errors import RunError

if TYPE_CHECKING:
    from pixweave.engine.context import Prebuilt
    from pixweave.events import Event
    from pixweave.recipe import Recipe


def _check_preview(_: click.Context, __: click.Parameter, preview: str) -> str:
    """The value of --preview; RunError at once if this terminal cannot show images."""
    if preview == "term":
        from pixweave.cli.progress import preview_kind

        preview_kind(preview)
    return preview


@click.command()
@click.argument(
    "recipes",
    nargs=-1,
    required=True,
    metavar="RECIPE...",
    shell_complete=completion.recipe_names,
)
@click.option(
    "-s",
    "--set",
    "sets",
    multiple=True,
    metavar="PATH=VALUE",
    shell_complete=completion.assignments,
    help="Set a value, e.g. generator.palette=pico-8; may be repeated.",
)
@click.option(
    "-p",
    "--prompt",
    "prompts",
    multiple=True,
    metavar="TEXT",
    help="Use this prompt instead of the recipe's; may be repeated.",
)
@click.option("--seed", metavar="N", help="Shorthand for --set seed=N (a number or `random`).")
@click.option("-n", "--steps", type=int, metavar="N", help="Shorthand for --set steps=N.")
@click.option(
    "--quality",
    metavar="NAME",
    shell_complete=completion.qualities,
    help="Shorthand for --set quality=NAME.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write into this new or empty folder instead of runs/DATE/NUMBER-NAME.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Continue the run in the --out folder; finished candidates are kept.",
)
@click.option(
    "--watch",
    is_flag=True,
    help="Run again whenever the recipe, a file that it uses or a file in --plugins-dir is saved.",
)
@click.option(
    "--preview",
    type=click.Choice(["auto", "term", "none"]),
    default="auto",
    callback=_check_preview,
    help="Live preview in the terminal, using at most 2 % of the time; auto: if the terminal "
    "supports it; term: required; none: off.",
)
@click.option("--json", "as_json", is_flag=True, help="Print events as NDJSON on stdout.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@click.pass_context
def run(
    ctx: click.Context,
    recipes: tuple[str, ...],
    sets: tuple[str, ...],
    prompts: tuple[str, ...],
    seed: str | None,
    steps: int | None,
    quality: str | None,
    out: Path | None,
    resume: bool,
    watch: bool,
    preview: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run a recipe and print the paths of the results.

    Several recipes are merged, left to right; `-` is standard input. Paths go to stdout. Ctrl-C
    finishes the current step, saves the image and reports how many steps were done; a second Ctrl-C
    stops immediately.
    """
    from pixweave.recipe import load

    short = {"seed": seed, "steps": steps, "quality": quality}
    shorts = [f"{key}={value}" for key, value in short.items() if value is not None]
    if prompts:
        shorts.append(f"prompts={json.dumps(prompts, ensure_ascii=False)}")
    show = _show_json if as_json else _show_nothing if quiet else _show_progress
    changes = [*shorts, *sets]
    with Signals() as signals:
        if watch:
            _watch(ctx, recipes, changes, out, show, signals, preview, as_json)
        else:
            recipe = load(recipes, ctx.obj.plugins(), changes)
            show(recipe, _folder(recipe, out, resume), signals, preview)
    ctx.exit(signals.exit_code)


def _watch(
    ctx: click.Context,
    recipes: tuple[str, ...],
    changes: list[str],
    out: Path | None,
    show: Callable[..., int],
    signals: Signals,
    preview: str,
    as_json: bool,
) -> None:
    from pixweave.cli.error_report import report
    from pixweave.cli.watch import Watch
    from pixweave.plugins import Plugins
    from pixweave.recipe import load

    state = ctx.obj

    def run_once(recipe: Recipe, prebuilt: Prebuilt) -> None:
        # with --out, each run replaces the files of the one before
        folder = out if out in made and out is not None else _folder(recipe, out)
        made.append(folder)
        signals.also = watching.changed
        signals.prebuilt = prebuilt
        show(recipe, folder, signals, preview)

    made: list[Path] = []
    watching = Watch(
        sources=recipes,
        folders=tuple(state.folders),
        discover=lambda: Plugins.discover(state.folders, state.without),
        load=lambda plugins: load(recipes, plugins, changes),
        run=run_once,
        report=lambda error: report(error, as_json),
        stopped=lambda: signals.signalled,
        as_json=as_json,
    )
    watching.loop()


def _folder(recipe: Recipe, out: Path | None, resume: bool = False) -> Path:
    from pixweave.pipeline.run_folder import new_folder

    if resume and (out is None or not recipe.stages):
        needed = "--out DIR, the folder to continue in" if out is None else "a recipe with stages"
        raise RunError(f"--resume needs {needed}")
    try:
        if out is None:
            return new_folder(Path("runs"), recipe.title or recipe.name)
        if out.is_dir() and any(out.iterdir()) and not resume:
            raise RunError(f"the folder '{out}' is not empty; choose a new one with --out")
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot create the run folder: {error}; choose one with --out") from None
    return out


def _events(recipe: Recipe, folder: Path, signals: Signals) -> Iterator[Event]:
    from pixweave.pipeline.runner import perform

    return perform(recipe, folder, lambda: signals.asked, signals.prebuilt)


def _show_json(recipe: Recipe, folder: Path, signals: Signals, preview: str) -> int:
    for event in _events(recipe, folder, signals):
        if event.kind != "step" or "losses" in event.data:  # at most ten a second
            click.echo(json.dumps(event.plain()))
            sys.stdout.flush()
    return 0


def _show_nothing(recipe: Recipe, folder: Path, signals: Signals, preview: str) -> int:
    for event in _events(recipe, folder, signals):
        _say(event)
    return 0


def _show_progress(recipe: Recipe, folder: Path, signals: Signals, preview: str) -> int:
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return _show_lines(recipe, folder, signals)
    from pixweave.cli.progress import Progress

    with Progress(recipe, preview, lambda: signals.asked) as progress:
        for event in _events(recipe, folder, signals):
            if event.kind == "step":
                progress.step(event)
            elif event.kind in ("saved", "result"):  # no steps follow
                progress.close()
                _say(event)
            else:
                progress.event(event)
    return 0


def _show_lines(recipe: Recipe, folder: Path, signals: Signals) -> int:
    """Print a line every ten seconds instead of a bar, for logs and pipes."""
    last = time.monotonic()
    for event in _events(recipe, folder, signals):
        if event.kind != "step":
            _say(event)
        elif "losses" in event.data and time.monotonic() - last >= 10:
            last = time.monotonic()
            click.echo(describe_step(event.data), err=True)
    return 0


def describe_step(data: Any) -> str:
    """`120/200  8.1 it/s  0:00:10 left  prompt 0.62  smoothness 0.1` from the data of a step."""
    done, steps = data["step"] + 1, data["steps"]
    rate = done / data["seconds"] if data["seconds"] else 0.0
    left = int((steps - done) / rate) if rate else 0
    clock = f"{left // 3600}:{left % 3600 // 60:02}:{left % 60:02}"
    losses = "  ".join(f"{name} {value:.3g}" for name, value in data["losses"].items())
    return f"{done}/{steps}  {rate:.2f} it/s  {clock} left  {losses}"


def _say(event: Event) -> None:
    """Print warnings and an early end on stderr, and paths on stdout."""
    data = event.data
    if event.kind == "warning":
        click.echo(f"warning: {data['message']}", err=True)
    elif event.kind == "saved":
        click.echo(data["path"])
    elif event.kind == "result" and data["status"] == "interrupted":
        click.echo(
            f"stopped after {data['steps_done']} of {data['steps']} steps; "
            "the image so far is saved",
            err=True,
        )


class Signals:
    """Turns the first Ctrl-C or SIGTERM into a request to stop; a second Ctrl-C interrupts."""

    def __init__(self) -> None:
        self.signalled = False
        self.exit_code = 0
        self.also: Callable[[], bool] = lambda: False
        """Another reason to stop."""
        self.prebuilt: Prebuilt | None = None

    @property
    def asked(self) -> bool:
        """Whether the run should stop."""
        return self.signalled or self.also()

    def __enter__(self) -> Signals:
        self._before = {s: signal.signal(s, self._on) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on(self, number: int, _: object) -> None:
        if self.signalled and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signalled = True
        self.exit_code = 128 + number
