"""Run a recipe: from a `Recipe` to files in a run folder, as a stream of events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pixweave.events import Event
from pixweave.hookspecs import Outcome
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
    In every case, files that were begun are completed with the frames so far, and plugins are told
    the outcome (`after_run`); only then PartError, RunError or OutOfMemoryError is raised.

        for event in perform(recipe, folder):
            print(event.kind, event.data)
    """
    run = _RecordedRun(recipe, folder, stop)
    try:
        yield from run.events()
    finally:
        run.end()
        run.record.close()


class _RecordedRun:
    """A run whose events are recorded, and whose outcome is told to the plugins, once."""

    def __init__(self, recipe: Recipe, folder: Path, stop: Callable[[], bool]) -> None:
        self.recipe, self.folder, self.stop = recipe, folder, stop
        self.record = RunFolder(folder, recipe)
        self.runner: Runner | None = None
        self.began = time.monotonic()
        self.error: Exception | None = None
        self.ended = False

    def events(self) -> Iterator[Event]:
        """The events of the run; the result comes last, after the warnings of `after_run`."""
        result: Event | None = None
        try:
            self.runner = self._runner()
            for event in self.runner.events():
                if event.kind == "result":
                    result = event
                    continue
                self.record.record_event(event.plain())
                yield event
        except Exception as error:
            self.error = error
        warnings = (Event("warning", {"message": message}) for message in self.end())
        for event in (*warnings, *([result] if result else [])):
            self.record.record_event(event.plain())
            yield event
        if self.error is not None:
            raise self.error

    def _runner(self) -> Runner:
        if self.recipe.stages:
            from pixweave.pipeline.stage_runner import StageRunner  # imports torch

            return StageRunner(self.recipe, self.folder, self.stop)
        from pixweave.pipeline.image_runner import ImageRunner

        return ImageRunner(self.recipe, self.folder, self.stop)

    def end(self) -> list[str]:
        """Write the status and tell the plugins; returns their warnings. A second call: none."""
        if self.ended:
            return []
        self.ended = True
        summary = self.runner.summary() if self.runner is not None else {}
        error = "" if self.error is None else str(self.error)
        self.record.write_status(self._status(), summary, error)
        if self.recipe.plugins is None:
            return []
        return self.recipe.plugins.after_run(
            Outcome(
                recipe=self.recipe,
                folder=self.folder,
                status=self._status(),
                outputs=tuple(map(Path, summary.get("outputs", ()))),
                error=error,
                seconds=round(time.monotonic() - self.began, 3),
                plugins=self.recipe.plugin_versions(),
            )
        )

    def _status(self) -> str:
        if self.error is not None or self.runner is None:
            return "failed"
        return self.runner.status
