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
    """A recipe that is being run; `status` is done, interrupted or failed."""

    status: str

    def events(self) -> Iterator[Event]: ...

    def summary(self) -> dict[str, Any]: ...


def perform(
    recipe: Recipe, folder: Path, stop: Callable[[], bool] = lambda: False
) -> Iterator[Event]:
    """Run a recipe in `folder`, which must exist; yield what happens as it happens.

    `stop` is asked after each step: when it says True the run ends there and keeps what it has.
    Whatever happens, files that were begun are finished with the frames that there were. Raises
    RunError, OutOfMemoryError or what a part raised, after that is done.
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
