"""The words of errors about values that parts hand over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


def describe(value: Any) -> str:
    """What was handed over, in short: `[1, 24, 16, 3] float32`, `None`, `a str`, `a list of 2`."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        what = f"{list(value.shape)} {str(value.dtype).removeprefix('torch.')}"
        is_tensor = str(value.dtype).startswith("torch.")
        return what if is_tensor else f"a {type(value).__module__} array {what}"
    if value is None or isinstance(value, (bool, int, float)):
        return str(value)
    if isinstance(value, (list, tuple, dict, set)):
        return f"a {type(value).__name__} of {len(value)}"
    return f"a {type(value).__name__}"


def missing_from(instance: Any, names: Iterable[str]) -> str:
    """The fault of an object that `build(run)` returned without these attributes; '' if none."""
    if instance is None:
        return "has a build(run) that returned None; return the object that does the work"
    for name in names:
        if not hasattr(instance, name):
            return f"has no '{name}'; add it to the object that build(run) returns"
    return ""


def not_a(value: Any, wanted: str) -> str:
    """The fault of a value that is of a wrong type."""
    return f"gave {describe(value)}; it must give {wanted}"
