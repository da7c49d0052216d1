"""Everything pixweave raises on purpose.

PixweaveError            anything below; the command line prints it without a traceback
  RecipeError            the recipe is wrong: every issue of it at once            exit 3
  PluginError            a plugin broke a rule of the host                         exit 1
  MissingError           a file, a model or a package is not there                 exit 4
  OutOfMemoryError       the device is full; the message says which settings help  exit 6
  RunError               the run could not go on                                   exit 1

InvalidValue is a ValueError for validators of settings: the reader of the recipe turns it into an
Issue at the line of the setting.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


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
class Issue:
    """One thing that is wrong with a recipe, where it is, and how to fix it.

    A component's `check` names the `setting` (`grid`, `colors.2`); the reader of the recipe adds
    `where`, the line it was written on. Issues that are not `fatal` are shown as warnings.

        yield Issue("grid", "has no cell", "use 1 or more")
    """

    setting: str
    message: str
    hint: str = ""
    fatal: bool = True
    where: Mark = Mark("")

    @classmethod
    def at(cls, where: Mark, message: str, hint: str = "") -> Issue:
        """An issue at a place of the recipe."""
        return cls("", message, hint, where=where)

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" + (f"; {self.hint}" if self.hint else "")


class InvalidValue(ValueError):  # noqa: N818 - `raise InvalidValue(...)` reads well
    """A value that a setting cannot take: `message` follows the setting's name, `hint` helps."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message, self.hint = message, hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class UnknownName(InvalidValue):
    """An expression uses a name that is not known, whenever it is evaluated."""


class PixweaveError(Exception):
    """Root of the errors that pixweave raises on purpose."""

    exit_code = 1
    code = "failed"


class RecipeError(PixweaveError):
    """The recipe is wrong; `issues` holds every issue that was found, sorted by place."""

    exit_code = 3
    code = "recipe"

    def __init__(self, issues: Issue | Iterable[Issue]) -> None:
        found = [issues] if isinstance(issues, Issue) else list(issues)
        self.issues: Sequence[Issue] = sorted(found, key=lambda issue: issue.where)
        super().__init__("\n".join(map(str, self.issues)))


class PluginError(PixweaveError):
    """A plugin broke a rule of the host: a misspelt hook, a wrong argument, a bad component."""

    code = "plugin"


class MissingError(PixweaveError):
    """A file, a model or a package that is needed is not there.

    `reason` says why without naming the file again, where that is known.
    """

    exit_code = 4
    code = "missing"

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class OutOfMemoryError(PixweaveError):
    """The device has no memory left; the message names the settings that save some."""

    exit_code = 6
    code = "memory"


class RunError(PixweaveError):
    """The run could not go on."""

    code = "run"


def nearest_name(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name that is most like the word; None where none is near (0..1, 1 is equal)."""
    near = difflib.get_close_matches(word, sorted(set(known)), n=1, cutoff=cutoff)
    return near[0] if near else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The nearest right name as a hint, or the choices when none is near ('' when there are none).

    >>> did_you_mean("smoothnes", ["smoothness", "palette"])
    "did you mean 'smoothness'?"
    """
    names = sorted(set(known))
    near = nearest_name(word, names)
    if near is not None:
        return f"did you mean '{near}'?"
    return f"choose from {', '.join(names)}" if names else ""


def describe_value(value: Any, longest: int = 40) -> str:
    """A value as messages print it: texts in quotes, cut to `longest`; `nothing`, `a list`.

    >>> describe_value("12"), describe_value(12), describe_value(None), describe_value(True)
    ("'12'", '12', 'nothing', 'true')
    """
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    if not isinstance(value, str):
        return f"{value:g}" if isinstance(value, float) else str(value)
    return f"'{value}'" if len(value) <= longest else f"'{value[: longest - 3]}...'"


def indefinite(noun: str) -> str:
    """The noun with its article: `a loss`, `an exporter`."""
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"
