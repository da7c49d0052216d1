"""Run a recipe: from a `Recipe` to files in a run folder, as a stream of events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pixweave.errors import RunError
from pixweave.events import Event
from pixweave.hookspecs import Outcome
from pixweave.pipeline.run_folder import RunFolder, new_folder
from pixweave.recipe import as_recipe

if TYPE_CHECKING:
    from pixweave.engine.context import Prebuilt
    from pixweave.recipe import Recipe


class Runner(Protocol):
    """Runs a recipe; `status` is done, interrupted or failed."""

    status: str

    def events(self) -> Iterator[Event]: ...

    def summary(self) -> dict[str, Any]: ...


def perform(
    recipe: Recipe | str | Path,
    folder: str | Path | None = None,
    stop: Callable[[], bool] = lambda: False,
    prebuilt: Prebuilt | None = None,
) -> Iterator[Event]:
    """Run a recipe, or the one in a file; yield events as they happen.

    `folder` is created if there is none; by default it is a new run folder below `runs`. `stop`
    is called after each step: when it returns True the run ends and keeps its results. In every
    case, files that were begun are completed with the frames so far, and plugins are told the
    outcome (`after_run`); only then PartError, RunError or OutOfMemoryError is raised. `prebuilt`
    holds models of other runs on the same device, for reuse.

        for event in perform("fox.yaml"):
            print(event.kind, event.data)
    """
    recipe = as_recipe(recipe)
    path = Path(folder) if folder is not None else default_folder(recipe)
    path.mkdir(parents=True, exist_ok=True)
    yield from RecordedRun(recipe, path, stop, prebuilt).perform()


def default_folder(recipe: Recipe) -> Path:
    """A new folder `runs/DATE/NUMBER-TITLE`; RunError if it cannot be created."""
    try:
        return new_folder(Path("runs"), recipe.title or recipe.name)
    except OSError as error:
        raise RunError(f"cannot create the run folder: {error}; choose a folder") from None


def open_runner(
    recipe: Recipe, folder: Path, stop: Callable[[], bool], prebuilt: Prebuilt | None = None
) -> Runner:
    """The runner of a recipe; this imports torch, and its events build the parts."""
    if recipe.stages:
        from pixweave.pipeline.stage_runner import StageRunner  # imports torch

        return StageRunner(recipe, folder, stop, prebuilt)
    from pixweave.pipeline.image_runner import ImageRunner

    return ImageRunner(recipe, folder, stop, prebuilt)


class RecordedRun:
    """A run whose events are recorded, and whose outcome is told to the plugins, once."""

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        stop: Callable[[], bool],
        prebuilt: Prebuilt | None = None,
    ) -> None:
        self.recipe, self.folder, self.stop, self.prebuilt = recipe, folder, stop, prebuilt
        self.record = RunFolder(folder, recipe)
        self.runner: Runner | None = None
        self.began = time.monotonic()
        self.error: Exception | None = None
        self.ended = False

    def perform(self) -> Iterator[Event]:
        """The events of the run; however it ends, the record is completed."""
        try:
            yield from self.events()
        finally:
            self.end()
            self.record.close()

    def events(self) -> Iterator[Event]:
        """The events of the run; the result comes last, after the warnings of `after_run`."""
        result: Event | None = None
        try:
            self.runner = open_runner(self.recipe, self.folder, self.stop, self.prebuilt)
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
