"""Checks of tensors that parts hand over, and the words for what is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pixweave.borders.wording import describe

SLACK = 1e-3
"""How far values may lie outside a range, for rounding."""
UNIT_SLACK = 1e-2
"""How far the length of a unit vector may be from 1, for half precision."""

Shape = Sequence[int | str]


def shape_text(shape: Shape) -> str:
    """`[B, 3 or 4, 16, 24]`."""
    return f"[{', '.join(map(str, shape))}]"


def fits(shape: Sequence[int], wanted: Shape) -> bool:
    """Whether a shape is the wanted one, in which texts stand for any size: `B`, or `3 or 4`."""
    return len(shape) == len(wanted) and all(
        size in _sizes(want) if isinstance(want, str) and _sizes(want) else _equal(size, want)
        for size, want in zip(shape, wanted, strict=True)
    )


def _sizes(want: str) -> list[int]:
    return [int(word) for word in want.split(" or ")] if want[:1].isdigit() else []


def _equal(size: int, want: int | str) -> bool:
    return size > 0 if isinstance(want, str) else size == want


def fault_of(
    value: Any,
    shape: Shape,
    device: torch.device,
    *,
    dtype: torch.dtype | None = torch.float32,
    within: tuple[float, float] | None = None,
) -> str:
    """What is wrong with a value: `gave ...; it must give ...`; '' if nothing is.

    `dtype` None admits every floating dtype; `within` is the range of the values.
    """
    kind = "float" if dtype is None else str(dtype).removeprefix("torch.")
    span = "" if within is None else f" in {within[0]:g}..{within[1]:g}"
    must = f"it must give {shape_text(shape)} {kind}{span}"
    if not isinstance(value, Tensor):
        return f"gave {describe(value)}; {must}"
    right = value.is_floating_point() if dtype is None else value.dtype == dtype
    if not fits(value.shape, shape) or not right:
        return f"gave {describe(value)}; {must}"
    if value.layout is not torch.strided:
        return f"gave a sparse tensor; {must}"
    if value.device.type != device.type:
        return f"gave a tensor on {value.device.type}; {must} on {device.type}, the run's device"
    return fault_of_values(value.detach(), must, within)


def fault_of_values(value: Tensor, must: str, within: tuple[float, float] | None) -> str:
    """What is wrong with the numbers of a tensor; '' if nothing is."""
    bad = int((~torch.isfinite(value)).sum())
    if bad:
        what = "nan" if torch.isnan(value).any() else "infinite"
        return f"gave {bad} {what} values of {value.numel()}; {must}"
    if within is None or not value.numel():
        return ""
    low, high = float(value.min()), float(value.max())
    if low < within[0] - SLACK or high > within[1] + SLACK:
        return f"gave values in {low:.3g}..{high:.3g}; {must}"
    return ""


def fault_of_units(vectors: Tensor) -> str:
    """What is wrong with the lengths of unit vectors `[N, D]`; '' if nothing is."""
    lengths = vectors.detach().float().norm(dim=1)
    if not lengths.numel():
        return ""
    worst = float(lengths[(lengths - 1).abs().argmax()])
    if abs(worst - 1) <= UNIT_SLACK:
        return ""
    return f"gave a vector of length {worst:.3g}; it must give vectors of length 1"


class Handed:
    """A tensor that a part was handed, to see whether the part has changed it.

    torch counts changes in place; `thorough` also compares the values, which finds changes that go
    around the count, as through `.data`.
    """

    def __init__(self, name: str, tensor: Tensor, thorough: bool) -> None:
        self.name, self._tensor = name, tensor
        self._version = _version(tensor)
        self._copy = tensor.detach().clone() if thorough else None

    def fault(self) -> str:
        """What the part did to it; '' if nothing."""
        changed = _version(self._tensor) != self._version or (
            self._copy is not None and not _same(self._copy, self._tensor.detach())
        )
        fault = f"changed {self.name} in place; work on a copy: {self.name}.clone()"
        return fault if changed else ""


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(torch.equal(one, other))


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version
