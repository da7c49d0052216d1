"""Sort picture files into a folder for each label: planned, then done; nothing is replaced."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pixweave.errors import RunError

How = Literal["copy", "link", "move"]


@dataclass(frozen=True)
class Step:
    """One file and where it goes; `clash` says why it stays where it is, '' if it goes."""

    source: Path
    target: Path
    clash: str = ""


def folder_name(label: str) -> str:
    """The label as the name of a folder on any system."""
    name = re.sub(r'[\x00-\x1f<>:"/\\|?*]+', "_", label).strip(" .")[:100]
    return name or "_"


def plan(
    root: Path, files: Iterable[tuple[str, str]], name: Callable[[Path], str] = lambda p: p.name
) -> list[Step]:
    """Where each `(path, label)` goes; what is there already, or comes twice, is a clash."""
    taken: dict[str, Path] = {}
    steps = []
    for path, label in files:
        source = Path(path)
        target = root / folder_name(label) / name(source)
        key = os.path.normcase(target)
        clash = ""
        if key in taken:
            clash = f"'{taken[key]}' takes this name"
        elif os.path.lexists(target):
            clash = "is there already"
        taken.setdefault(key, source)
        steps.append(Step(source, target, clash))
    return steps


def carry_out(steps: Iterable[Step], how: How) -> list[Step]:
    """Do the steps without a clash; gives the clashes, those that came up on the way too."""
    left = []
    for step in steps:
        clash = step.clash or _one(step, how)
        if clash:
            left.append(Step(step.source, step.target, clash))
    return left


def _one(step: Step, how: How) -> str:
    """Why a file did not go; '' if it did."""
    part = step.target.with_name(f".{step.target.name}.part")
    try:
        step.target.parent.mkdir(parents=True, exist_ok=True)
        if how == "link":
            step.target.symlink_to(step.source.absolute())
            return ""
        with step.target.open("xb"):  # takes the name, so that nothing is ever replaced
            pass
        try:
            shutil.copy2(step.source, part)
            os.replace(part, step.target)
        except BaseException:
            step.target.unlink()
            raise
        if how == "move":
            step.source.unlink()
    except FileExistsError:
        return "is there already"
    except OSError as error:
        raise RunError(f"'{step.target}' cannot be written: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)
    return ""
