"""ImageRunner: runs a recipe that generates one image, from planning to its files, as events."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pixweave.errors import RunError
from pixweave.events import Event, Frame

if TYPE_CHECKING:
    from pixweave.engine.context import Prebuilt
    from pixweave.engine.run import Run
    from pixweave.pipeline.exporting import Exports
    from pixweave.recipe import Recipe

READ_EVERY = 0.1
"""Seconds between two readings of the losses: reading them waits for the device."""

LESS_MEMORY = "try a smaller crops.batch (say 4), fewer crops.count, or a smaller size"


class ImageRunner:
    """Generates the image of a recipe; `status` is done, interrupted or failed.

    `prebuilt` holds models for reuse, see `open_run`.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        stop: Callable[[], bool],
        prebuilt: Prebuilt | None = None,
    ) -> None:
        self.recipe, self.folder, self.stop, self.prebuilt = recipe, folder, stop, prebuilt
        self.status = "failed"
        self.run: Run | None = None
        self.began = time.monotonic()
        self.outputs: list[Path] = []
        self.steps_done = 0

    def events(self) -> Iterator[Event]:
        """Run the recipe; yield events as they happen. RunError if an export failed."""
        from pixweave.pipeline.exporting import Exports  # imports torch

        recipe = self.recipe
        yield Event(
            "planned",
            {
                "recipe": recipe.name,
                "folder": str(self.folder),
                "size": list(recipe.size),
                "steps": recipe.steps,
                "seed": recipe.seed,
            },
        )
        for issue in recipe.warnings:
            yield Event("warning", {"message": str(issue)})
        yield Event("building", {"parts": [part.use for part in _in_order(recipe)]})
        run = self.run = self._open()
        yield from self._warnings()
        for message in _overflows(run):
            yield Event("warning", {"message": message})
        yield Event(
            "started",
            {
                **self._machine(),
                "generator": getattr(run.generator, "info", ""),
                "seconds": self._elapsed(),
            },
        )
        exports = Exports(run)
        try:
            yield from self._steps(run, exports)
        finally:
            self.outputs = exports.close()
        yield from self._warnings()
        for path in self.outputs:
            yield Event("saved", {"path": str(path)})
        yield Event("result", {"ok": not exports.failures, "status": self.status, **self.summary()})
        if exports.failures:
            raise RunError("\n".join(exports.failures))

    def _open(self) -> Run:
        from pixweave.engine.memory import MemoryGuard  # imports torch
        from pixweave.engine.run import open_run

        with MemoryGuard(LESS_MEMORY):
            metadata = {"pixweave": embedded_recipe(self.recipe)}
            return open_run(self.recipe, self.folder, self.prebuilt, metadata)

    def _steps(self, run: Run, exports: Exports) -> Iterator[Event]:
        from pixweave.engine.loop import generate
        from pixweave.engine.memory import MemoryGuard

        last, started = -math.inf, time.monotonic()
        frames = generate(run)
        while True:
            with MemoryGuard(LESS_MEMORY):
                frame = next(frames, None)
            if frame is None:
                self.status = "done"
                return
            exports.write(frame)
            self.steps_done = frame.step + 1
            now = time.monotonic()
            data: dict[str, Any] = {"step": frame.step, "steps": self.recipe.steps}
            if now - last >= READ_EVERY or self.steps_done == self.recipe.steps:
                last = now
                data["losses"] = _read_losses(frame)
                data["seconds"] = round(now - started, 3)
            yield from self._warnings()
            yield Event("step", data, frame)
            if self.steps_done < self.recipe.steps and self.stop():
                self.status = "interrupted"
                return

    def _warnings(self) -> Iterator[Event]:
        """The warnings that parts have caused since the last time."""
        assert self.run is not None
        for message in self.run.context.take_warnings():
            yield Event("warning", {"message": message})

    def summary(self) -> dict[str, Any]:
        """The summary for `run.json`."""
        return {
            "folder": str(self.folder),
            "outputs": [str(path) for path in self.outputs],
            "seed": self.recipe.seed,
            "steps_done": self.steps_done,
            "steps": self.recipe.steps,
            "seconds": self._elapsed(),
            "peak_memory_mb": self._peak_memory(),
            **self._machine(),
        }

    def _machine(self) -> dict[str, Any]:
        """The device and precision used, to continue on another machine with the same ones."""
        if self.run is None:
            return {}
        return {"device": str(self.run.device), "precision": str(self.run.dtype).split(".")[1]}

    def _peak_memory(self) -> float | None:
        if self.run is None:
            return None
        from pixweave.engine.memory import peak_memory_mb

        return peak_memory_mb(self.run.device)

    def _elapsed(self) -> float:
        return round(time.monotonic() - self.began, 3)


def _read_losses(frame: Frame) -> dict[str, float]:
    """The losses as numbers; RunError if one is not finite."""
    losses = {name: float(loss) for name, loss in frame.losses.items()}
    for name, value in losses.items():
        if not math.isfinite(value):
            raise RunError(
                f"loss '{name}' became {value} at step {frame.step}; "
                "lower optimizer.rate or its weight"
            )
    return losses


def embedded_recipe(recipe: Recipe) -> str:
    """The resolved recipe as YAML, with the versions of its plugins under `x-plugins`.

    Input files are named without their folders, for privacy.
    """
    body = _without_folders(recipe.resolved())
    body["x-plugins"] = recipe.plugin_versions()
    return str(yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=1000))


def _without_folders(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_folders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_folders(item) for item in value]
    is_file = isinstance(value, str) and os.path.isabs(value) and os.path.isfile(value)
    return os.path.basename(value) if is_file else value


def _overflows(run: Run) -> Iterator[str]:
    """A warning for each prompt that does not fit into a perceptor's context."""
    for part in run.recipe.losses:
        text = getattr(part.settings, "text", None)
        if not isinstance(text, str):
            continue
        for name, perceptor in run.perceptors.items():
            overflow = getattr(perceptor, "overflow", None)
            if overflow is not None and (cut := overflow(text)):
                yield f"{part.mark}: perceptor '{name}' ignores the end of the prompt: '{cut}'"


def _in_order(recipe: Recipe) -> list[Any]:
    """The parts in the order in which they are built."""
    return [
        recipe.generator,
        *recipe.perceptors,
        *recipe.augmentations,
        *recipe.losses,
        *recipe.filters,
        *recipe.exports,
    ]
