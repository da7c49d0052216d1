"""Everything pixweave raises on purpose.

PixweaveError            anything below; the command line prints it without a traceback
  RecipeError            the recipe is wrong: every problem of it at once          exit 3
  PluginError            a plugin broke a rule of the host                         exit 1
  MissingError           a file, a model or a package is not there                 exit 4
  OutOfMemoryError       the device is full; the message says which settings help  exit 6
  RunError               the run could not go on                                   exit 1
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Mark:
    """Where a value was written: a file (or `--set`, a preset, a default), a line and a column.

    `line` and `column` count from 1; 0 means that the source has no lines.
    """

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, where it is, and what to do about it."""

    where: Mark
    message: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" + (f"; {self.hint}" if self.hint else "")


class PixweaveError(Exception):
    """Root of the errors that pixweave raises on purpose."""

    exit_code = 1
    code = "failed"


class RecipeError(PixweaveError):
    """The recipe is wrong; `problems` holds every fault that was found, sorted by place."""

    exit_code = 3
    code = "recipe"

    def __init__(self, problems: Problem | Iterable[Problem]) -> None:
        found = [problems] if isinstance(problems, Problem) else list(problems)
        self.problems: Sequence[Problem] = sorted(found, key=lambda p: p.where)
        super().__init__("\n".join(str(p) for p in self.problems))


class PluginError(PixweaveError):
    """A plugin broke a rule of the host: a misspelt hook, a wrong argument, a bad component."""

    code = "plugin"


class MissingError(PixweaveError):
    """A file, a model or a package that is needed is not there."""

    exit_code = 4
    code = "missing"


class OutOfMemoryError(PixweaveError):
    """The device has no memory left; the message names the settings that save some."""

    exit_code = 6
    code = "memory"


class RunError(PixweaveError):
    """The run could not go on."""

    code = "run"


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The nearest right names as a hint, or the choices when nothing is near ('' when none)."""
    names = sorted(set(known))
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    return f"choose from {', '.join(names)}" if names else ""
