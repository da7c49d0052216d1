"""The training loop: from a plan to a model file; it can be resumed at any step."""

from __future__ import annotations

import contextlib
import hashlib
import math
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from pixweave.borders.guard import Guard, component_name
from pixweave.borders.wording import missing_from, not_a
from pixweave.engine.context import Context
from pixweave.engine.device import choose_device
from pixweave.engine.memory import MemoryGuard
from pixweave.errors import PartError, RunError
from pixweave.events import Event
from pixweave.protocols import Training
from pixweave.train.dataset import Dataset, Stopped, open_dataset
from pixweave.train.plan import Plan, TrainContext, no_nested_parts
from pixweave.train.work_folder import Work

CHECKPOINTS = 20
"""Number of checkpoints during a training, besides those written after MOST_SECONDS."""

MOST_SECONDS = 600.0
"""The longest time between two checkpoints, in seconds."""

SHARE = 0.2
"""The largest fraction of the time that checkpoints before the last may take."""

_METHODS = ("step", "state_dict", "load_state_dict", "samples", "measure", "save")
_MAY_CHANGE = frozenset({"torch's global random state"})
"""torch's global stream is seeded before each step, so a trainer may draw from it."""

LINES = 500
"""Approximate number of lines of the log; there is at least one every 50 steps."""


def train(
    plan: Plan,
    tell: Callable[[Event], None] = lambda event: None,
    stop: Callable[[], bool] = lambda: False,
) -> str:
    """Train, and return how it ended: done, paused (after `minutes`) or interrupted.

    `tell` gets all events: preparing, warning, building, started, step, measured, saved and result.
    `stop` is called after each step; if it returns True a checkpoint is written, and the same plan
    resumes from there. The model is written when the training is done or paused. Raises
    MissingError, RecipeError, RunError, OutOfMemoryError, or what the trainer raised.
    """
    return _Loop(plan, tell, stop).run()


class _Loop:
    def __init__(self, plan: Plan, tell: Callable[[Event], None], stop: Callable[[], bool]) -> None:
        self.plan, self.stop = plan, stop
        self.warnings: list[str] = []
        self.warned: set[str] = set()
        self.emit = lambda kind, **data: tell(Event(kind, data))
        self.every = max(1, plan.steps // CHECKPOINTS)
        self.log_every = max(1, min(50, plan.steps // LINES))
        self.done = 0
        self.measured: Mapping[str, float] = {}
        self.measured_at = -1
        self.sums = _Sums(getattr(plan.settings, "batch", None))

    def run(self) -> str:
        device = choose_device(self.plan.device)
        self.work = Work(self.plan)
        try:
            dataset = self._open()
        except Stopped:
            return self._finish("interrupted", ())
        state = self.work.open(dataset)
        self.emit("building", trainer=self.plan.trainer, pictures=len(dataset))
        self.training = self._build(dataset, device, state)
        self.held = len(dataset.held) > 0
        self.emit(
            "started",
            step=self.done,
            steps=self.plan.steps,
            device=str(device),
            pictures=len(dataset),
            held=len(dataset.held),
            work=str(self.plan.work),
        )
        status = self._steps()
        if status == "interrupted":
            self._checkpoint(full=False)
            return self._finish(status, ())
        if self.measured_at != self.done:
            self._checkpoint()
        return self._finish(status, self._save())

    def _open(self) -> Dataset:
        plan = self.plan
        return open_dataset(
            plan.data,
            plan.side,
            plan.seed,
            plan.work,
            lambda done, total: self.emit("preparing", done=done, total=total),
            lambda message: self.emit("warning", message=message),
            self.stop,
        )

    def _build(
        self, dataset: Dataset, device: torch.device, state: Mapping[str, Any] | None
    ) -> Training:
        plan = self.plan
        run = TrainContext(
            dataset,
            device,
            plan.seed,
            plan.steps,
            self.work.cache,
            plan.out,
            lambda message: self.emit("warning", message=message),
            Context(plan.recipe).build if plan.recipe is not None else no_nested_parts,
        )
        torch.manual_seed(_derived_seed(plan.seed, "build"))
        with self._guard():
            training: Training = plan.settings.build(run)
            self._check(missing_from(training, _METHODS))
            if state is not None:
                training.load_state_dict(state["training"])
                self.done = int(state["step"])
        return training

    def _steps(self) -> str:
        began = saved = time.monotonic()
        cost = 0.0
        while self.done < self.plan.steps:
            metrics = self._step()
            now = time.monotonic()
            self.emit(
                "step",
                step=self.done,
                steps=self.plan.steps,
                metrics=metrics,
                seconds=round(now - began, 3),
            )
            if self.done == self.plan.steps:
                break
            if self.stop():
                return "interrupted"
            if self.plan.minutes is not None and now - began >= self.plan.minutes * 60:
                return "paused"
            regular = self.done % self.every == 0 and now - saved >= cost / SHARE
            if regular or now - saved >= MOST_SECONDS:
                self._checkpoint()
                saved = time.monotonic()
                cost = saved - now
            elif self.done % self.log_every == 0:
                self._log()
        return "done"

    def _step(self) -> dict[str, float]:
        began = time.monotonic()
        torch.manual_seed(_derived_seed(self.plan.seed, self.done))
        with self._guard():
            given = self.training.step(self.done)
        metrics = self._numbers(given, "step")
        self.done += 1
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise RunError(
                    f"'{name}' became {value} at step {self.done}; lower the learning rate. "
                    f"The last checkpoint in '{self.plan.work}' is from an earlier step"
                )
        self.sums.add(metrics, time.monotonic() - began)
        return metrics

    def _check(self, fault: str) -> None:
        if fault:
            name = component_name("trainer", self.plan.trainer, self.plan.plugin)
            raise PartError(name, fault)

    def _numbers(self, given: Any, method: str) -> dict[str, float]:
        """Metrics as plain numbers; PartError if they are something else."""
        try:
            return {str(name): float(value) for name, value in given.items()}
        except (AttributeError, TypeError, ValueError):
            self._check(f"{not_a(given, 'a mapping of names to numbers')} from {method}()")
            raise

    def _checkpoint(self, full: bool = True) -> None:
        """Write the checkpoint; if `full`, also measure and write samples."""
        extra: dict[str, Any] = {}
        if full:
            with self._guard():
                samples = self.training.samples()
                measured = self.training.measure() if self.held else {}
            self.measured = self._numbers(measured, "measure")
            self.measured_at = self.done
            if samples is not None and len(samples):
                extra["samples"] = str(self.work.write_samples(self.done, samples))
            self.emit("measured", step=self.done, measures=dict(self.measured), **extra)
        self._log(full)
        with self._guard():
            state = self.training.state_dict()
        self.work.save({"step": self.done, "training": state})

    def _log(self, full: bool = False) -> None:
        """Write a log line about the steps since the last one; if `full`, with the measures."""
        line = self.sums.take()
        if full:
            line["measures"] = dict(self.measured)
        if line:
            self.work.write_line({"step": self.done, **line})

    def _save(self) -> list[Path]:
        """Write the model and its companion files to a temporary folder; move the model last."""
        out = self.plan.out
        with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
            with self._guard():
                self.training.save(Path(folder) / out.name)
            files = sorted(Path(folder).iterdir(), key=lambda path: path.name == out.name)
            if not files or files[-1].name != out.name:
                raise RunError(f"trainer '{self.plan.trainer}' did not write '{out.name}'")
            for path in files:
                shutil.move(path, out.parent / path.name)
        return [out, *(out.parent / path.name for path in files[:-1])]

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        """Errors name the trainer; those about memory also say what helps."""
        name = component_name("trainer", self.plan.trainer, self.plan.plugin)
        warn = self.warnings.append
        with MemoryGuard(_LESS_MEMORY), Guard(name, warn, may_change=_MAY_CHANGE):
            yield
        for message in dict.fromkeys(self.warnings):
            if message not in self.warned:
                self.warned.add(message)
                self.emit("warning", message=message)

    def _finish(self, status: str, outputs: list[Path] | tuple[()]) -> str:
        for path in outputs:
            self.emit("saved", path=str(path))
        self.emit(
            "result",
            ok=True,
            status=status,
            outputs=[str(path) for path in outputs],
            work=str(self.plan.work),
            steps_done=self.done,
            steps=self.plan.steps,
            measures=dict(self.measured),
        )
        return status


class _Sums:
    """Means of the metrics since the last line of the log."""

    def __init__(self, batch: int | None) -> None:
        self.batch = batch
        self.totals: dict[str, tuple[float, int]] = {}
        self.steps, self.seconds = 0, 0.0

    def add(self, metrics: Mapping[str, float], seconds: float) -> None:
        """Add the metrics of a step; not every step has every metric."""
        self.steps, self.seconds = self.steps + 1, self.seconds + seconds
        for name, value in metrics.items():
            total, count = self.totals.get(name, (0.0, 0))
            self.totals[name] = total + value, count + 1

    def take(self) -> dict[str, Any]:
        """The log line about the added steps, {} if there are none; then reset."""
        if not self.steps:
            return {}
        means = {name: total / count for name, (total, count) in self.totals.items()}
        line: dict[str, Any] = {"metrics": means, "seconds": round(self.seconds, 3)}
        if self.batch:
            images = self.steps * self.batch
            line["pictures_per_second"] = round(images / max(self.seconds, 1e-9), 1)
        self.totals, self.steps, self.seconds = {}, 0, 0.0
        return line


def _derived_seed(seed: int, name: str | int) -> int:
    """A seed for one purpose or one step."""
    text = f"{seed}/train/{name}".encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) >> 1


_LESS_MEMORY = "try a smaller 'batch' or 'size'"
