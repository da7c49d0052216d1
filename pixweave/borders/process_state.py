"""The state of the process that plugins must leave alone: it is compared, named and restored.

Everything here is global to the process, so a part that changes it changes all other parts, and the
next run. A field is watched only once its library is imported: nothing here imports torch. Fields
that take long to read are watched in thorough snapshots only, which are for the first calls.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

_DRAW = "draw from run.rng(name, step) instead"
_SIGNALS = [
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGPIPE", "SIGCHLD", "SIGALRM", "SIGUSR1")
    if hasattr(signal, name)
]


@dataclass(frozen=True)
class WatchedField:
    """One piece of global state: its name, how to read and restore it, and what to do instead."""

    name: str
    read: Callable[[], Any]
    restore: Callable[[Any], Any]
    hint: str
    library: str = "sys"
    """The module that must be imported for the field to exist."""
    slow: bool = False
    """True if it takes more than some microseconds to read."""

    @property
    def fault(self) -> str:
        """What a part did that changed it, and what to do instead."""
        return f"changed {self.name}; {self.hint}"


def _working_directory() -> str | None:
    with contextlib.suppress(OSError):  # it was deleted
        return os.getcwd()
    return None


def _set_working_directory(folder: str | None) -> None:
    if folder is not None:
        os.chdir(folder)


def _umask() -> int:
    # the mask can only be read by setting it: the strictest value, in case another thread writes
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _handlers() -> list[Any]:
    return [signal.getsignal(number) for number in _SIGNALS]


def _set_handlers(handlers: list[Any]) -> None:
    for number, handler in zip(_SIGNALS, handlers, strict=True):
        with contextlib.suppress(ValueError, TypeError):  # only the main thread may
            signal.signal(number, handler)


def _environment() -> dict[Any, Any]:
    # the plain dict behind os.environ is copied in a hundredth of the time, as nothing is decoded
    return dict(getattr(os.environ, "_data", os.environ))


def _set_environment(variables: dict[Any, Any]) -> None:
    now: Any = os.environb if isinstance(next(iter(variables), ""), bytes) else os.environ
    for name in set(now) - set(variables):
        del now[name]
    for name, value in variables.items():
        if now.get(name) != value:
            now[name] = value


def _torch() -> Any:
    return sys.modules["torch"]


def _torch_modes() -> tuple[Any, ...]:
    torch = _torch()
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.deterministic,
    )


def _set_torch_modes(modes: tuple[Any, ...]) -> None:
    torch = _torch()
    torch.use_deterministic_algorithms(modes[0], warn_only=modes[1])
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = modes[2:]


def _torch_stream() -> bytes:
    return bytes(_torch().get_rng_state().numpy().data)


def _set_torch_stream(state: bytes) -> None:
    torch = _torch()
    torch.set_rng_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))


_NUMPY_KEYS, _NUMPY_BYTES = 624, 625 * 4
"""numpy's global stream, a Mersenne Twister: 624 words of state and the position in them."""


def _numpy_stream() -> bytes | None:
    """The state; None if the user has replaced the bit generator by one of another kind."""
    generator = sys.modules["numpy"].random.get_bit_generator()
    if type(generator).__name__ != "MT19937":
        return None
    # get_state() builds lists of Python numbers, which takes a hundred times as long
    return ctypes.string_at(generator.ctypes.state_address, _NUMPY_BYTES)


def _set_numpy_stream(state: bytes | None) -> None:
    if state is None:
        return
    numpy = sys.modules["numpy"]
    words = numpy.frombuffer(state, dtype=numpy.uint32)
    numpy.random.set_state(("MT19937", words[:_NUMPY_KEYS], int(words[_NUMPY_KEYS])))


FIELDS = (
    WatchedField(
        "torch's global random state", _torch_stream, _set_torch_stream, _DRAW, library="torch"
    ),
    WatchedField("Python's global random state", random.getstate, random.setstate, _DRAW),
    WatchedField(
        "numpy's global random state",
        _numpy_stream,
        _set_numpy_stream,
        _DRAW,
        library="numpy.random",
    ),
    WatchedField(
        "torch's grad mode",
        lambda: _torch().is_grad_enabled(),
        lambda value: _torch().set_grad_enabled(value),
        "use `with torch.no_grad():` around the code that needs it",
        library="torch",
    ),
    WatchedField(
        "torch's thread count",
        lambda: _torch().get_num_threads(),
        lambda value: _torch().set_num_threads(value),
        "leave it to the user (OMP_NUM_THREADS)",
        library="torch",
    ),
    WatchedField(
        "torch's default dtype",
        lambda: _torch().get_default_dtype(),
        lambda value: _torch().set_default_dtype(value),
        "pass dtype= to each tensor",
        library="torch",
    ),
    WatchedField(
        "torch's default device",
        lambda: _torch().get_default_device(),
        lambda value: _torch().set_default_device(value),
        "pass device=run.device to each tensor",
        library="torch",
        slow=True,
    ),
    WatchedField(
        "torch's deterministic mode",
        _torch_modes,
        _set_torch_modes,
        "leave it to the user",
        library="torch",
    ),
    WatchedField(
        "the working directory",
        _working_directory,
        _set_working_directory,
        "use absolute paths; run.folder is the run folder",
    ),
    WatchedField(
        "the environment",
        _environment,
        _set_environment,
        "pass env= to the subprocess that needs it",
    ),
    WatchedField(
        "Python's recursion limit",
        sys.getrecursionlimit,
        sys.setrecursionlimit,
        "write a loop instead of a deep recursion",
    ),
    WatchedField("the umask", _umask, os.umask, "use os.chmod on the file"),
    WatchedField(
        "a signal handler", _handlers, _set_handlers, "stages ask run.stop() instead", slow=True
    ),
)


EVERYTHING = frozenset(field.name for field in FIELDS)
"""The names of all fields."""


class ProcessState:
    """A snapshot of the fields; `restore` puts back what has changed and names it."""

    def __init__(self, thorough: bool = True) -> None:
        self._modules = len(sys.modules)
        self._values = {
            field.name: field.read()
            for field in FIELDS
            if field.library in sys.modules and (thorough or not field.slow)
        }

    def restore(self, ignored: frozenset[str] = frozenset()) -> Iterator[WatchedField]:
        """Each field that has changed, after restoring it, except those with `ignored` names."""
        for field in FIELDS:
            if field.name not in self._values or field.name in ignored:
                continue
            before, now = self._values[field.name], field.read()
            if now == before:
                continue
            # libraries add variables when they are imported, as cv2 does, or draw, as rich does
            imported = len(sys.modules) > self._modules
            if imported and field.name == "the environment" and before.items() <= now.items():
                continue
            field.restore(before)
            if not (imported and field.hint == _DRAW):
                yield field
