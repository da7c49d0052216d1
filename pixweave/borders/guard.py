"""Guard: runs code of one plugin; its errors name it, and the process stays as it was."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from pixweave.borders.process_state import ProcessState
from pixweave.component import Part
from pixweave.errors import OutOfMemoryError, PartError, PixweaveError

_CORE = str(Path(__file__).parent.parent)
_IMPORTS = ("<frozen importlib", str(Path(importlib.__file__).parent))
_FULL = ("out of memory", "can't allocate memory", "not enough memory")


def full_name(part: Part) -> str:
    """The name of a part in errors: `loss 'vivid' (fox.yaml:6, plugin mine)`."""
    mark = part.mark
    place = f"{mark.source}:{mark.line}" if mark.line else mark.source
    return f"{part.kind} '{part.id}' ({place}, plugin {part.plugin})"


def component_name(kind: str, name: str, plugin: str) -> str:
    """The name in errors of a part that a command uses: `searcher 'ann' (plugin pixweave_ann)`."""
    return f"{kind} '{name}' (plugin {plugin})"


class Guard:
    """Runs code of a plugin in a `with` block.

    An exception becomes a PartError that names the plugin, unless it is one of pixweave's own, or
    names another part already: the innermost guard names the culprit. `SystemExit` and a
    `KeyboardInterrupt` that the plugin itself raises are exceptions too; Ctrl-C is not. State of
    the process that the block changed is restored and is an error. What it prints to stdout goes
    to stderr, and `warn` gets a message. `may_change` names fields of the state that it may
    change, see `process_state.FIELDS`.
    """

    def __init__(
        self,
        name: str,
        warn: Callable[[str], None] | None = None,
        thorough: bool = True,
        may_change: frozenset[str] = frozenset(),
    ) -> None:
        self.name, self.warn, self.thorough = name, warn, thorough
        self.may_change = may_change

    def __enter__(self) -> None:
        self._state = ProcessState(self.thorough)
        self._printed = _Stderr()
        self._stdout, sys.stdout = sys.stdout, self._printed

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        now, sys.stdout = sys.stdout, self._stdout
        changed = [field.fault for field in self._state.restore(self.may_change)]
        if now is not self._printed:
            changed.append("changed sys.stdout; leave it as it is, and print to sys.stderr")
        if self._printed.used and self.warn is not None:
            self.warn(
                f"{self.name} printed to stdout, which is for results; its text went to stderr"
            )
        if error is not None:
            self._rename(error)
        elif changed:
            raise PartError(self.name, changed[0])

    def _rename(self, error: BaseException) -> None:
        """Raise the PartError of an exception, or let it pass."""
        if isinstance(error, PartError) or type(error).__module__ == "torch.utils.checkpoint":
            return  # torch ends a recomputation early by an exception of that module
        if isinstance(error, PixweaveError):
            if not getattr(error, "__notes__", None):
                error.add_note(f"in {self.name}")
        elif is_out_of_memory(error):
            details = first_line(error) or "no details"
            raise OutOfMemoryError(f"{self.name} ran out of memory ({details})") from error
        elif isinstance(error, SystemExit):
            code = "" if error.code is None else error.code
            raise PartError(self.name, f"called sys.exit({code}){plugin_place(error)}") from error
        elif not isinstance(error, KeyboardInterrupt) or is_raised_by_code(error):
            raise PartError(self.name, f"raised {describe_error(error)}") from error


class _Stderr:
    """A stand-in for stdout that writes to stderr and remembers whether it was used."""

    used = False

    def write(self, text: str) -> int:
        self.used = True
        return sys.stderr.write(text)

    def close(self) -> None:
        """Do nothing: stderr stays open."""

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that the memory of the machine or the GPU is exhausted."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and not isinstance(error, PixweaveError)
        and any(word in first_line(error).lower() for word in _FULL)
    )


def is_raised_by_code(error: BaseException) -> bool:
    """Whether a KeyboardInterrupt comes from a `raise` statement, not from Ctrl-C.

    Python's own handler raises between two instructions; pixweave's raises in its module.
    """
    trace = error.__traceback__
    if not isinstance(error, KeyboardInterrupt) or trace is None:
        return False
    import dis

    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    explicit = dis.opname[code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"
    return explicit and not code.co_filename.startswith(_CORE)


def describe_error(error: BaseException, core: bool = False) -> str:
    """The exception in one line, with its place in the plugin: `ValueError: too dark (mine.py:7)`.

    The place is the deepest line in the file of the plugin, or in a file beside it; with `core`,
    the deepest line of pixweave itself.
    """
    text = first_line(error)
    return f"{type(error).__name__}{': ' if text else ''}{text}{plugin_place(error, core)}"


def first_line(error: BaseException) -> str:
    """The first line of the error's text; '' if it has none, or cannot give one."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # a __str__ of a plugin
        return ""
    return lines[0] if lines else ""


def plugin_place(error: BaseException, core: bool = False) -> str:
    """` (mine.py:7)`: the plugin is the first file after those of the core; '' if there is none."""
    import traceback

    frames = [
        (frame.f_code.co_filename, line)
        for frame, line in traceback.walk_tb(error.__traceback__)
        if frame.f_code.co_filename.startswith(_CORE) == core
        and not frame.f_code.co_filename.startswith(_IMPORTS)
    ]
    if not frames:
        return ""
    if core:
        return f" ({Path(frames[-1][0]).name}:{frames[-1][1]})"
    folder = Path(frames[0][0]).parent
    path, line = [frame for frame in frames if Path(frame[0]).parent == folder][-1]
    return f" ({Path(path).name}:{line})"
