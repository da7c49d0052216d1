"""Run a recipe: from a `Recipe` to files in a run folder, as a stream of events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pixweave.events import Event
from pixweave.pipeline.run_folder import RunFolder

if TYPE_CHECKING:
    from pixweave.recipe import Recipe


class Runner(Protocol):
    """Runs a recipe; `status` is done, interrupted or failed."""

    status: str

    def events(self) -> Iterator[Event]: ...

    def summary(self) -> dict[str, Any]: ...


def perform(
    recipe: Recipe, folder: Path, stop: Callable[[], bool] = lambda: False
) -> Iterator[Event]:
    """Run a recipe in `folder`, which must exist; yield events as they happen.

    `stop` is called after each step: when it returns True the run ends and keeps its results.
    In every case, files that were begun are completed with the frames so far; only then
    RunError, OutOfMemoryError or an error of a part is raised.

        for event in perform(recipe, folder):
            print(event.kind, event.data)
    """
    run_folder = RunFolder(folder, recipe)
    runner: Runner
    if recipe.stages:
        from pixweave.pipeline.stage_runner import StageRunner  # imports torch

        runner = StageRunner(recipe, folder, stop)
    else:
        from pixweave.pipeline.image_runner import ImageRunner

        runner = ImageRunner(recipe, folder, stop)
    try:
        for event in runner.events():
            run_folder.record_event(event.plain())
            yield event
    finally:
        run_folder.finish(runner.status, runner.summary())
