"""Tasks for worker processes: their data, their results and the setup of a worker.

A task is plain data and the name of a function: an executor (a plugin, see
`pixweave.protocols.Executor`) sends it to a worker process, on this or another machine, where
`run_task` runs it. Tasks are deterministic, and the name identifies the result, so a task whose
worker died can simply be run again, by any executor.

    Task(name, "pixweave.search.shards:encode", {"files": [...], ...})

Importing this module does not import torch: the number of threads must be set before that.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pixweave.errors import PixweaveError

CARRIED = ("PIXWEAVE_", "HF_HOME", "HF_HUB_OFFLINE")
"""Prefixes of the environment variables that are passed on to workers."""

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Task:
    """One task: `function`, as `module:name`, is called with the mapping `arguments`.

    `name` is a digest of all that the result depends on; arguments and result must be picklable.
    """

    name: str
    function: str
    arguments: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class TaskResult:
    """The result of a task: its `value`, or else the `error`; `tries` counts the attempts."""

    task: Task
    value: Any = field(default=None, repr=False)
    error: str = ""
    tries: int = 1


@dataclass(frozen=True)
class WorkerSetup:
    """The setup of a worker: environment variables and, if it exists there, the working folder."""

    environment: Mapping[str, str]
    folder: str

    @classmethod
    def current(cls) -> WorkerSetup:
        """The setup of this process."""
        carried = {n: v for n, v in os.environ.items() if n.startswith(CARRIED)}
        return cls(carried, os.getcwd())

    def apply(self, threads: int) -> None:
        """Set up this process as a worker with `threads` threads for computation."""
        os.environ.update(self.environment)
        os.environ.update(dict.fromkeys(THREADS, str(threads)))
        with contextlib.suppress(OSError):
            os.chdir(self.folder)
        if torch := sys.modules.get("torch"):  # it reads the environment only when imported
            torch.set_num_threads(threads)


@dataclass(frozen=True)
class ExecutorContext:
    """What an executor's `build(run)` gets: `setup`, the setup for its workers."""

    setup: WorkerSetup = field(default_factory=WorkerSetup.current)


def run_task(task: Task) -> Any:
    """Run the task in this process and return its value; raises what the function raises."""
    module, _, name = task.function.partition(":")
    return getattr(importlib.import_module(module), name)(task.arguments)


def try_task(task: Task) -> tuple[Any, str]:
    """The value of a task, or None and the error message; for workers: it never raises.

    Tasks are deterministic, so such an error would occur again: the task is not retried.
    """
    try:
        return run_task(task), ""
    except PixweaveError as error:
        return None, str(error)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split())[:500]
        return None, f"{type(error).__name__}: {text} ({Path(place.filename).name}:{place.lineno})"


def worker_died(tries: int, how: str) -> str:
    """The error message of a task whose workers died."""
    times = "once" if tries == 1 else f"{tries} times"
    return f"its worker died {times} ({how})"


def reading_threads() -> int:
    """How many threads this process may use for reading: as set up, else one per core."""
    value = os.environ.get(THREADS[0], "")
    return int(value) if value.isdecimal() and int(value) else available_cores()


def available_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
