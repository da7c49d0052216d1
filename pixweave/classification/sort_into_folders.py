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
class Move:
    """One file and where it goes; `clash` says why it stays where it is, '' if it goes."""

    source: Path
    target: Path
    clash: str = ""


def folder_name(label: str) -> str:
    """The label as the name of a folder on any system."""
    name = re.sub(r'[\x00-\x1f<>:"/\\|?*]+', "_", label).strip(" .")[:100]
    return name or "_"


def plan_moves(
    root: Path, files: Iterable[tuple[str, str]], name: Callable[[Path], str] = lambda p: p.name
) -> list[Move]:
    """Where each `(path, label)` goes; what is there already, or comes twice, is a clash."""
    taken: dict[str, Path] = {}
    moves = []
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
        moves.append(Move(source, target, clash))
    return moves


def carry_out(moves: Iterable[Move], how: How) -> list[Move]:
    """Do the moves without a clash; gives the clashes, those that came up on the way too."""
    left = []
    for move in moves:
        clash = move.clash or _one(move, how)
        if clash:
            left.append(Move(move.source, move.target, clash))
    return left


def _one(move: Move, how: How) -> str:
    """Why a file did not go; '' if it did."""
    part = move.target.with_name(f".{move.target.name}.part")
    try:
        move.target.parent.mkdir(parents=True, exist_ok=True)
        if how == "link":
            move.target.symlink_to(move.source.absolute())
            return ""
        with move.target.open("xb"):  # takes the name, so that nothing is ever replaced
            pass
        try:
            shutil.copy2(move.source, part)
            os.replace(part, move.target)
        except BaseException:
            move.target.unlink()
            raise
        if how == "move":
            move.source.unlink()
    except FileExistsError:
        return "is there already"
    except OSError as error:
        raise RunError(f"'{move.target}' cannot be written: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)
    return ""
