"""Memory: peak usage, and out-of-memory errors that name the settings to reduce."""

from __future__ import annotations

import sys
from typing import Any

import torch

from pixweave.borders.guard import first_line, is_out_of_memory
from pixweave.errors import OutOfMemoryError


class MemoryGuard:
    """Turns any out-of-memory error into an OutOfMemoryError that names the settings to reduce."""

    def __init__(self, hint: str) -> None:
        self._hint = hint

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, OutOfMemoryError) and self._hint not in str(error):
            raise OutOfMemoryError(f"{error}; {self._hint}") from error.__cause__
        if error is not None and is_out_of_memory(error):
            details = first_line(error) or "no details"
            raise OutOfMemoryError(f"out of memory ({details}); {self._hint}") from error


def peak_memory_mb(device: torch.device) -> float | None:
    """Peak memory so far in MB: of the GPU if `device` is one, else of the process."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    try:
        import resource
    except ImportError:  # not on Windows
        return None
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 1)
