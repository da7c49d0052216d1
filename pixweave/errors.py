"""The exceptions that pixweave raises on purpose.

PixweaveError            base class; the command line prints it without a traceback
  RecipeError            the recipe is invalid; holds all of its issues            exit 3
  PluginError            a plugin broke a rule of the host                         exit 1
    PartError            one part of a recipe failed, or handed over a wrong value exit 1
  MissingError           a file, a model or a package was not found                exit 4
  OutOfMemoryError       out of memory; the message says which settings help       exit 6
  RunError               the run cannot continue                                   exit 1

InvalidValue is a ValueError for validators of settings: the recipe loader converts it to an Issue
at the line of the setting.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, order=True)
class Mark:
    """The source location of a value: a file (or `--set`, a preset, a default), line and column.

    `line` and `column` count from 1; 0 means that the source has no lines.
    """

    source: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True)
class Issue:
    """One error or warning about a recipe: the setting, the location, and a hint how to fix it.

    A component's `check` gives the `setting` (`grid`, `colors.2`); the recipe loader adds `where`,
    its source location. Issues that are not `fatal` are shown as warnings.

        yield Issue("grid", "has no cell", "use 1 or more")
    """

    setting: str
    message: str
    hint: str = ""
    fatal: bool = True
    where: Mark = Mark("")

    @classmethod
    def at(cls, where: Mark, message: str, hint: str = "") -> Issue:
        """An issue at a source location."""
        return cls("", message, hint, where=where)

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" + (f"; {self.hint}" if self.hint else "")


class InvalidValue(ValueError):  # noqa: N818 - `raise InvalidValue(...)` reads well
    """An invalid value of a setting. `message` follows the name of the setting: "must be ...".

    `hint` says how to fix it.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.message, self.hint = message, hint

    def __str__(self) -> str:
        return f"{self.message}; {self.hint}" if self.hint else self.message


class UnknownName(InvalidValue):
    """An expression uses an unknown name, so it fails at every step."""


class PixweaveError(Exception):
    """Base class of the errors that pixweave raises on purpose."""

    exit_code = 1
    code = "failed"


class RecipeError(PixweaveError):
    """The recipe is invalid; `issues` holds all issues found, sorted by location."""

    exit_code = 3
    code = "recipe"

    def __init__(self, issues: Issue | Iterable[Issue]) -> None:
        listed = [issues] if isinstance(issues, Issue) else list(issues)
        self.issues: Sequence[Issue] = sorted(listed, key=lambda issue: issue.where)
        super().__init__("\n".join(map(str, self.issues)))


class PluginError(PixweaveError):
    """A plugin broke a rule of the host: a misspelt hook, a wrong argument, a bad component."""

    code = "plugin"


class PartError(PluginError):
    """One part of a recipe raised an error, or handed over a value that breaks its protocol.

    `part` names the part that did the work, not the one that asked for it:
    `loss 'vivid' (fox.yaml:6, plugin mine)`. The original error is the `__cause__`.
    """

    def __init__(self, part: str, message: str) -> None:
        super().__init__(f"{part} {message}")
        self.part = part


class MissingError(PixweaveError):
    """A required file, model or package was not found or cannot be read.

    `reason` says why, without repeating the file name; "" if unknown.
    """

    exit_code = 4
    code = "missing"

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class OutOfMemoryError(PixweaveError):
    """The device is out of memory; the message names the settings that reduce memory use."""

    exit_code = 6
    code = "memory"


class RunError(PixweaveError):
    """The run cannot continue."""

    code = "run"


def nearest_name(word: str, known: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The known name most similar to `word`; None if none reaches `cutoff` (0..1, 1 is equal)."""
    import difflib

    near = difflib.get_close_matches(word, sorted(set(known)), n=1, cutoff=cutoff)
    return near[0] if near else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint with the most similar name, else with all names; '' if there are none.

    >>> did_you_mean("smoothnes", ["smoothness", "palette"])
    "did you mean 'smoothness'?"
    """
    names = sorted(set(known))
    near = nearest_name(word, names)
    if near is not None:
        return f"did you mean '{near}'?"
    return f"choose from {', '.join(names)}" if names else ""


def describe_value(value: Any, longest: int = 40) -> str:
    """A value as messages print it: text in quotes, cut to `longest` characters; `null`, `a list`.

    >>> describe_value("12"), describe_value(12), describe_value(None), describe_value(True)
    ("'12'", '12', 'null', 'true')
    """
    if value is None:
        return "null"
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
    """The noun with its indefinite article: `a loss`, `an exporter`."""
    return f"{'an' if noun[:1] in 'aeiou' else 'a'} {noun}"
