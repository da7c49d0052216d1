"""The files that a recipe writes: valid names, inside the run folder, each written once.

This holds for every exporter and stage, whoever wrote it. Names are compared as file systems do:
`./a.png` is `a.png`, and on many machines `A.png` is `a.png` too.
"""

from __future__ import annotations

import re
import typing
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from pixweave.component import Part
from pixweave.errors import Mark

if TYPE_CHECKING:
    from pixweave.recipe.validation import Validator

LONGEST = 200
"""The most bytes of one name of a path; the file system allows 255, temporary names are longer."""
OWN = ("recipe.yaml", "resolved.yaml", "events.jsonl", "run.json", "candidates")
"""What the run itself writes into its folder."""
_LONGEST_PATH = 1000


class OutputName:
    """Marks the type of a setting that names a file or a folder in the run folder."""


def fault_of_name(name: str) -> tuple[str, str] | None:
    """What is wrong with the name of an output, and a hint; None if it is a valid one."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or name[:1] == "~" or {"\\", ":"} & set(name):
        return (
            f"'{_short(name)}' is outside the run folder",
            "use a plain file name; --out chooses the folder",
        )
    if not name.isprintable() or not path.parts or not all(map(_is_valid, path.parts)):
        return (
            f"'{_short(name)}' is not a valid file name",
            f"use up to {LONGEST} bytes, all printable, and no leading dot",
        )
    if len(str(path).encode()) > _LONGEST_PATH:
        return f"'{_short(name)}' is too long", f"use up to {_LONGEST_PATH} bytes"
    return None


def fault_of_output(name: str) -> str:
    """What is wrong with the name of a file that a part writes during the run; '' if nothing."""
    fault = fault_of_name(name)
    if fault is not None:
        return f"{fault[0]}; {fault[1]}"
    return f"'{name}' is a name that the run itself uses" if _is_own(name) else ""


def _is_own(name: str) -> bool:
    first = _folded(PurePosixPath(name).parts[0])
    return first in OWN or re.fullmatch(r"recipe-\d+-.*\.yaml", first) is not None


def _is_valid(part: str) -> bool:
    return part[0] != "." and len(part.encode()) <= LONGEST


def _short(name: str) -> str:
    return name[:80]


@dataclass(frozen=True)
class Output:
    """A name that a part writes in the run folder, and where the recipe says so."""

    part: Part
    setting: str
    name: str

    @property
    def key(self) -> tuple[str, ...]:
        """Equal for names that a file system may take for one."""
        return tuple(map(_folded, PurePosixPath(self.name).parts))

    @property
    def place(self) -> Mark:
        """The source location of the name."""
        return self.part.locate(self.setting)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def check_outputs(check: Validator, parts: Iterable[Part]) -> None:
    """Add the issues of the output names of these parts, alone and with one another."""
    accepted: list[Output] = []
    for output in (output for part in parts for output in outputs_of(part)):
        if fault := fault_of_name(output.name):
            check.fail(output.place, f"{output.part.name}: {fault[0]}", fault[1])
        elif message := _clash(output, accepted):
            is_exporter = output.part.kind == "exporter"
            hint = "choose another name" if is_exporter else f"set another '{output.setting}'"
            check.fail(output.place, message, hint)
        else:
            accepted.append(output)


def outputs_of(part: Part) -> Iterator[Output]:
    """The names that a part writes: an exporter's `file`, and settings of an OutputName type."""
    for name, info in type(part.settings).model_fields.items():
        value = getattr(part.settings, name)
        named = part.kind == "exporter" and name == "file"
        if isinstance(value, str) and (named or _is_output(info.annotation, info.metadata)):
            yield Output(part, name, value)


def _is_output(annotation: Any, metadata: Iterable[Any] = ()) -> bool:
    marks = (*metadata, *getattr(annotation, "__metadata__", ()))
    return any(isinstance(mark, OutputName) for mark in marks) or any(
        _is_output(inner)
        for inner in typing.get_args(annotation)
        if not (isinstance(inner, type) and issubclass(inner, BaseModel))
    )


def _clash(output: Output, others: Iterable[Output]) -> str:
    """What is wrong with an output beside those before it; '' if nothing is."""
    name, key = output.name, output.key
    if _is_own(name):
        return f"'{name}' is a name that the run itself uses"
    for other in others:
        if key == other.key:
            return f"'{name}' is {_written_twice(output, other)}"
        shorter, longer = sorted((output, other), key=lambda each: len(each.key))
        if longer.key[: len(shorter.key)] == shorter.key:
            return f"'{longer.name}' would be inside '{shorter.name}', which is written too"
    return ""


def _written_twice(output: Output, other: Output) -> str:
    twice = "exported twice" if output.part.kind == "exporter" else "written twice"
    if output.name == other.name:
        return twice
    one, two = (str(PurePosixPath(name)) for name in (output.name, other.name))
    if one == two:
        return f"{twice}, also as '{other.name}'"
    return f"{twice} where upper and lower case are one, also as '{other.name}'"
