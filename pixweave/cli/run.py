"""The verb `run`: perform a recipe, show how it goes, print where the result is."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pixweave.errors import RunError

if TYPE_CHECKING:
    from pixweave.events import Event
    from pixweave.recipe import Recipe


def _able(_: click.Context, __: click.Parameter, wish: str) -> str:
    """The value of --preview; RunError before anything is made if this terminal cannot."""
    if wish == "term":
        from pixweave.cli.progress import preview_kind

        preview_kind(wish)
    return wish


@click.command()
@click.argument("recipes", nargs=-1, required=True, metavar="RECIPE...")
@click.option(
    "-s",
    "--set",
    "sets",
    multiple=True,
    metavar="PATH=VALUE",
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
@click.option("--seed", metavar="N", help="Short for --set seed=N (a number or `random`).")
@click.option("-n", "--steps", type=int, metavar="N", help="Short for --set steps=N.")
@click.option("--quality", metavar="NAME", help="Short for --set quality=NAME.")
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
    help="Go on in the folder of --out: candidates that are finished are not drawn again.",
)
@click.option(
    "--preview",
    type=click.Choice(["auto", "term", "none"]),
    default="auto",
    callback=_able,
    help="Live picture in the terminal, in at most 2 % of the time; auto: where the "
    "terminal can; term: or fail.",
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
    preview: str,
    as_json: bool,
    quiet: bool,
) -> None:
    """Run a recipe; several are merged, left to right, and `-` is standard input.

    Prints the paths of the finished files on stdout. Ctrl-C finishes the step, writes the picture
    and says how far it got; a second Ctrl-C stops at once.
    """
    from pixweave.recipe import load

    short = {"seed": seed, "steps": steps, "quality": quality}
    shorts = [f"{key}={value}" for key, value in short.items() if value is not None]
    if prompts:
        shorts.append(f"prompts={json.dumps(prompts, ensure_ascii=False)}")
    recipe = load(recipes, ctx.obj.plugins(), [*shorts, *sets])
    folder = _folder(recipe, out, resume)
    watch = _show_json if as_json else _show_nothing if quiet else _show_progress
    with Signals() as signals:
        code = watch(recipe, folder, signals, preview)
    ctx.exit(code or signals.exit_code)


def _folder(recipe: Recipe, out: Path | None, resume: bool = False) -> Path:
    from pixweave.pipeline.run_folder import new_folder

    if resume and (out is None or not recipe.stages):
        lacks = "--out DIR says where" if out is None else "the recipe has stages"
        raise RunError(f"--resume goes on only if {lacks}")
    try:
        if out is None:
            return new_folder(Path("runs"), recipe.title or recipe.name)
        if out.is_dir() and any(out.iterdir()) and not resume:
            raise RunError(f"the folder '{out}' is not empty; name a new one with --out")
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"cannot make the run folder: {error}; choose one with --out") from None
    return out


def _events(recipe: Recipe, folder: Path, signals: Signals) -> Iterator[Event]:
    from pixweave.pipeline.runner import perform

    return perform(recipe, folder, lambda: signals.asked)


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
            elif event.kind in ("saved", "result"):  # the steps are over
                progress.close()
                _say(event)
            else:
                progress.event(event)
    return 0


def _show_lines(recipe: Recipe, folder: Path, signals: Signals) -> int:
    """For logs and pipes: a line every ten seconds instead of a bar."""
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
    """What a person wants to know: warnings and an early end on stderr, paths on stdout."""
    data = event.data
    if event.kind == "warning":
        click.echo(f"warning: {data['message']}", err=True)
    elif event.kind == "saved":
        click.echo(data["path"])
    elif event.kind == "result" and data["status"] == "interrupted":
        click.echo(
            f"stopped after {data['steps_done']} of {data['steps']} steps; what there was is saved",
            err=True,
        )


class Signals:
    """Turns the first Ctrl-C or SIGTERM into a wish to stop; the second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self.asked = False
        self.exit_code = 0

    def __enter__(self) -> Signals:
        self._before = {s: signal.signal(s, self._on) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on(self, number: int, _: object) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True
        self.exit_code = 128 + number
