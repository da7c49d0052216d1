"""Sort image files into one folder per label: plan, then carry out; nothing is overwritten."""

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
    """A file and its target; `clash` is the reason why it is not moved, '' if there is none."""

    source: Path
    target: Path
    clash: str = ""


def folder_name(label: str) -> str:
    """The label as a folder name that is valid on all systems."""
    name = re.sub(r'[\x00-\x1f<>:"/\\|?*]+', "_", label).strip(" .")[:100]
    return name or "_"


def plan_moves(
    root: Path, files: Iterable[tuple[str, str]], name: Callable[[Path], str] = lambda p: p.name
) -> list[Move]:
    """The move of each `(path, label)`; targets that exist, or occur twice, are clashes."""
    taken: dict[str, Path] = {}
    moves = []
    for path, label in files:
        source = Path(path)
        target = root / folder_name(label) / name(source)
        key = os.path.normcase(target)
        clash = ""
        if key in taken:
            clash = f"the name is taken by '{taken[key]}'"
        elif os.path.lexists(target):
            clash = "already exists"
        taken.setdefault(key, source)
        moves.append(Move(source, target, clash))
    return moves


def carry_out(moves: Iterable[Move], how: How) -> list[Move]:
    """Carry out the moves without a clash; return all clashes, including those found meanwhile.

    RunError if a target cannot be written.
    """
    clashes = []
    for move in moves:
        clash = move.clash or _move_file(move, how)
        if clash:
            clashes.append(Move(move.source, move.target, clash))
    return clashes


def _move_file(move: Move, how: How) -> str:
    """Carry out one move; return the clash, '' if there is none."""
    part = move.target.with_name(f".{move.target.name}.part")
    try:
        move.target.parent.mkdir(parents=True, exist_ok=True)
        if how == "link":
            move.target.symlink_to(move.source.absolute())
            return ""
        with move.target.open("xb"):  # claims the name, so that nothing is ever overwritten
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
        return "already exists"
    except OSError as error:
        raise RunError(f"'{move.target}' cannot be written: {error.strerror}") from None
    finally:
        part.unlink(missing_ok=True)
    return ""
