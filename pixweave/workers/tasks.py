"""Tasks that workers run: plain data, what came of it, and what a worker needs to know.

A task is plain data and the name of a function that does it: an executor (a plugin, see
`pixweave.protocols.Executor`) hands it to a worker process, here or on another machine, and
`run_task` does it there. Done twice it gives the same, and its name says what it is, so that a task
whose worker died is simply done again, by whichever executor.

    Task(name, "pixweave.search.shards:encode", {"files": [...], ...})

Importing it imports no torch: the number of threads must be settled before.
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
"""Beginnings of the environment variables that workers share with who sends them."""

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Task:
    """One piece of work: `function`, as `module:name`, is called with `arguments`, a mapping.

    `name` is a digest of all that the result depends on; arguments and result are picklable.
    """

    name: str
    function: str
    arguments: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class TaskResult:
    """What came of a task: its `value`, or the `error` if there is none; `tries` workers had it."""

    task: Task
    value: Any = field(default=None, repr=False)
    error: str = ""
    tries: int = 1


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker is to find: environment variables, and a folder to be in where it exists."""

    environment: Mapping[str, str]
    folder: str

    @classmethod
    def current(cls) -> WorkerSetup:
        """That of this process."""
        carried = {n: v for n, v in os.environ.items() if n.startswith(CARRIED)}
        return cls(carried, os.getcwd())

    def apply(self, threads: int) -> None:
        """Set up this process, a worker's, with `threads` threads for all that computes."""
        os.environ.update(self.environment)
        os.environ.update(dict.fromkeys(THREADS, str(threads)))
        with contextlib.suppress(OSError):
            os.chdir(self.folder)
        if torch := sys.modules.get("torch"):  # imported before, when it read the environment
            torch.set_num_threads(threads)


@dataclass(frozen=True)
class ExecutorContext:
    """What an executor's `build(run)` gets: `setup`, what its workers must be like."""

    setup: WorkerSetup = field(default_factory=WorkerSetup.current)


def run_task(task: Task) -> Any:
    """Do it, here and now; raises what the function raises."""
    module, _, name = task.function.partition(":")
    return getattr(importlib.import_module(module), name)(task.arguments)


def try_task(task: Task) -> tuple[Any, str]:
    """The value of a task, and the error if there is none; for workers: it never raises.

    Such an error would come again, the task being what it is: it is not tried again.
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
    """The error of a task whose workers died."""
    times = "once" if tries == 1 else f"{tries} times"
    return f"its worker died {times} ({how})"


def reading_threads() -> int:
    """How many threads this process may use for reading: what it was set up with, or its cores."""
    given = os.environ.get(THREADS[0], "")
    return int(given) if given.isdecimal() and int(given) else available_cores()


def available_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
