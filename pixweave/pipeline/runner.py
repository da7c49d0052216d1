"""Perform a recipe: from a `Recipe` to files in a run folder, as a stream of events."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pixweave.errors import OutOfMemoryError, PixweaveError, RunError

if TYPE_CHECKING:
    from pixweave.engine.run import Run
    from pixweave.protocols import Exporter, Frame
    from pixweave.recipe import Recipe

READ_EVERY = 0.1
"""Seconds between two readings of the losses: reading waits for the device."""

_REMEDY = "try a smaller crops.batch (say 4), fewer crops.count, or a smaller size"


@dataclass(frozen=True)
class Event:
    """Something that happened: `kind` and plain `data`; a step also has its `frame`.

    The kinds, in order: planned, warning, building, started, step, saved, result.
    """

    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)
    frame: Frame | None = None

    def plain(self) -> dict[str, Any]:
        """The event as it goes into `events.jsonl` and `--json`."""
        return {"event": self.kind, **self.data}


def perform(
    recipe: Recipe, folder: Path, stop: Callable[[], bool] = lambda: False
) -> Iterator[Event]:
    """Run a recipe in `folder`, which must exist; yield what happens as it happens.

    `stop` is asked after each step: when it says True the run ends there and keeps what it has.
    Whatever happens, files that were begun are finished with the frames that there were. Raises
    RunError, OutOfMemoryError or what a part raised, after that is done.
    """
    from pixweave.pipeline.run_folder import Record

    record = Record(folder, recipe)
    if recipe.stages:
        from pixweave.pipeline.stage_runner import Staging

        performance: Performance = Staging(recipe, folder, stop)
    else:
        performance = Painting(recipe, folder, stop)
    try:
        for event in performance.events():
            record.event(event.plain())
            yield event
    finally:
        record.finish(performance.status, performance.summary())


class Performance(Protocol):
    """A recipe on its way; `status` is done, interrupted or failed."""

    status: str

    def events(self) -> Iterator[Event]: ...

    def summary(self) -> dict[str, Any]: ...


class Painting:
    """The performance of a recipe that draws one picture.

    `ready`: perceptors that are built already, see `open_run`.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        stop: Callable[[], bool],
        ready: Mapping[Any, Any] | None = None,
    ) -> None:
        self.recipe, self.folder, self.stop, self.ready = recipe, folder, stop, ready
        self.status = "failed"
        self.run: Run | None = None
        self.began = time.monotonic()
        self.outputs: list[Path] = []
        self.steps_done = 0

    def events(self) -> Iterator[Event]:
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
        for problem in recipe.warnings:
            yield Event("warning", {"message": str(problem)})
        yield Event("building", {"parts": [p.use for p in _parts(recipe)]})
        run = self.run = self._open()
        run.stamp = {"pixweave": _stamp(recipe)}
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
        exports = _Exports(run)
        try:
            yield from self._steps(run, exports)
        finally:
            self.outputs = exports.close()
        for path in self.outputs:
            yield Event("saved", {"path": str(path)})
        yield Event("result", {"ok": not exports.failures, "status": self.status, **self.summary()})
        if exports.failures:
            raise RunError("\n".join(exports.failures))

    def _open(self) -> Run:
        from pixweave.engine.run import open_run

        with Memory(_REMEDY):
            return open_run(self.recipe, self.folder, self.ready)

    def _steps(self, run: Run, exports: _Exports) -> Iterator[Event]:
        from pixweave.engine.loop import generate

        last, started = -math.inf, time.monotonic()
        frames = generate(run)
        while True:
            with Memory(_REMEDY):
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
                data["losses"] = _read(frame)
                data["seconds"] = round(now - started, 3)
            yield Event("step", data, frame)
            if self.stop() and self.steps_done < self.recipe.steps:
                self.status = "interrupted"
                return

    def summary(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "outputs": [str(p) for p in self.outputs],
            "seed": self.recipe.seed,
            "steps_done": self.steps_done,
            "steps": self.recipe.steps,
            "seconds": self._elapsed(),
            "peak_memory_mb": _peak_memory(self.run),
            **self._machine(),
        }

    def _machine(self) -> dict[str, Any]:
        """What `auto` came to, for whoever goes on from here on another machine."""
        if self.run is None:
            return {}
        return {"device": str(self.run.device), "precision": str(self.run.dtype).split(".")[1]}

    def _elapsed(self) -> float:
        return round(time.monotonic() - self.began, 3)


class _Exports:
    """All exporters of a run; one that fails is dropped with its reason and costs no other."""

    def __init__(self, run: Run) -> None:
        self.failures: list[str] = []
        self._open: dict[str, Exporter] = dict(
            zip((part.id for part in run.recipe.exports), run.exporters(), strict=True)
        )
        self._frames = 0

    def write(self, frame: Frame) -> None:
        self._frames += 1
        for name, exporter in list(self._open.items()):
            try:
                exporter.write(frame)
            except Exception as error:  # whatever it is, the other exports go on
                self._drop(name, exporter, error)

    def close(self) -> list[Path]:
        paths: list[Path] = []
        for name, exporter in list(self._open.items()):
            try:
                paths += self._finish(exporter)
            except Exception as error:  # whatever it is, the other exports go on
                self._drop(name, exporter, error)
        self._open = {}
        return paths

    def _finish(self, exporter: Exporter) -> Sequence[Path]:
        if self._frames:
            return exporter.close()
        exporter.abort()
        return []

    def _drop(self, name: str, exporter: Exporter, error: Exception) -> None:
        self.failures.append(f"export '{name}' failed: {type(error).__name__}: {error}")
        self._open.pop(name, None)
        exporter.abort()


class Memory:
    """Turns a full device into an OutOfMemoryError that names the settings that help."""

    def __init__(self, remedy: str) -> None:
        self._remedy = remedy

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        words = ("out of memory", "can't allocate memory", "not enough memory")
        full = isinstance(error, MemoryError) or (
            isinstance(error, RuntimeError)
            and not isinstance(error, PixweaveError)
            and any(word in str(error).lower() for word in words)
        )
        if full:
            raise OutOfMemoryError(
                f"out of memory ({str(error).splitlines()[0] if str(error) else 'no details'}); "
                f"{self._remedy}"
            ) from error


def _read(frame: Frame) -> dict[str, float]:
    """The losses as numbers; RunError if one is no longer a number."""
    losses = {name: float(loss) for name, loss in frame.losses.items()}
    for name, value in losses.items():
        if not math.isfinite(value):
            raise RunError(
                f"loss '{name}' became {value} at step {frame.step}; "
                "lower optimizer.rate or its weight"
            )
    return losses


def _stamp(recipe: Recipe) -> str:
    """The resolved recipe as YAML; input files go by their bare names, to tell nobody's folders."""
    import yaml

    body = _without_folders(recipe.resolved())
    return str(yaml.safe_dump(body, sort_keys=False, allow_unicode=True, width=1000))


def _without_folders(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_folders(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_folders(item) for item in value]
    is_place = isinstance(value, str) and os.path.isabs(value) and os.path.isfile(value)
    return os.path.basename(value) if is_place else value


def _overflows(run: Run) -> Iterator[str]:
    """A warning for each prompt that a perceptor's context cannot hold."""
    for part in run.recipe.losses:
        text = getattr(part.settings, "text", None)
        for name, perceptor in run.perceptors.items():
            cut = (
                getattr(perceptor, "overflow", lambda _: "")(text) if isinstance(text, str) else ""
            )
            if cut:
                yield f"{part.mark}: perceptor '{name}' does not see the end of the prompt: '{cut}'"


def _parts(recipe: Recipe) -> list[Any]:
    return [
        recipe.generator,
        *recipe.perceptors,
        *recipe.augmentations,
        *recipe.losses,
        *recipe.filters,
        *recipe.exports,
    ]


def _peak_memory(run: Run | None) -> float | None:
    """Most memory used so far, in MB: of the GPU if there is one, else of the process."""
    if run is not None and run.device.type == "cuda":
        import torch

        return round(torch.cuda.max_memory_allocated(run.device) / 1e6, 1)
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    import sys

    unit = 1e6 if sys.platform == "darwin" else 1e3
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
