"""Work that may be done anywhere: units of it, what came of them, and what a worker needs to know.

A unit is plain data and the name of a function that does it: an executor (a plugin, see
`pixweave.protocols.Executor`) hands it to a worker process, here or on another machine, and
`perform` does it there. Done twice it gives the same, and its name says what it is, so that a unit
whose worker died is simply done again, by whichever executor.

    Unit(name, "pixweave.search.shards:encode", {"files": [...], ...})

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
class Unit:
    """One piece of work: `do` is a function, `module:name`, that is called with `what`.

    `name` is a digest of all that the result depends on; `what` and the result are picklable.
    """

    name: str
    do: str
    what: Mapping[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Done:
    """What came of a unit: its `value`, or why there is none; `tries` workers had it."""

    unit: Unit
    value: Any = field(default=None, repr=False)
    fault: str = ""
    tries: int = 1


@dataclass(frozen=True)
class Workplace:
    """What a worker is to find: environment variables, and a folder to be in where it exists."""

    environment: Mapping[str, str]
    folder: str

    @classmethod
    def here(cls) -> Workplace:
        """That of this process."""
        carried = {n: v for n, v in os.environ.items() if n.startswith(CARRIED)}
        return cls(carried, os.getcwd())

    def settle(self, threads: int) -> None:
        """Make this process, a worker's, so: with `threads` threads for all that computes."""
        os.environ.update(self.environment)
        os.environ.update(dict.fromkeys(THREADS, str(threads)))
        with contextlib.suppress(OSError):
            os.chdir(self.folder)
        if torch := sys.modules.get("torch"):  # it was there before, and has made up its mind
            torch.set_num_threads(threads)


@dataclass(frozen=True)
class ExecutorRun:
    """What an executor's `build(run)` gets: `workplace`, what its workers must be like."""

    workplace: Workplace = field(default_factory=Workplace.here)


def perform(unit: Unit) -> Any:
    """Do it, here and now; raises what the function raises."""
    module, _, name = unit.do.partition(":")
    return getattr(importlib.import_module(module), name)(unit.what)


def attempt(unit: Unit) -> tuple[Any, str]:
    """The value of a unit, and the fault if there is none; for workers: it never raises.

    Such a fault would come again, the unit being what it is: it is not tried again.
    """
    try:
        return perform(unit), ""
    except PixweaveError as error:
        return None, str(error)
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = " ".join(str(error).split())[:500]
        return None, f"{type(error).__name__}: {text} ({Path(place.filename).name}:{place.lineno})"


def threads() -> int:
    """How many threads this process may use for reading: what it was settled to, or its cores."""
    from pixweave.loading.prefetch import cores

    given = os.environ.get(THREADS[0], "")
    return int(given) if given.isdecimal() and int(given) else cores()


def died(tries: int, how: str) -> str:
    """The fault of a unit whose workers died."""
    times = "once" if tries == 1 else f"{tries} times"
    return f"its worker died {times} ({how})"
