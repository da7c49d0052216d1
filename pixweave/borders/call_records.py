"""Records of what parts were handed and gave, to find the one at fault for a value or a gradient.

Recording is off except while an error is being traced.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class CallRecord:
    """One call of a part: its full name, the tensors it was handed and the one that it gave."""

    name: str
    inputs: Sequence[Tensor]
    output: Tensor

    def gives_bad_values(self) -> bool:
        """Whether it gave nan or infinite values for finite ones."""
        return not is_finite([self.output]) and is_finite(self.inputs)

    def gives_bad_gradient(self) -> bool:
        """Whether it turns a finite gradient into nan; after a backward pass with its graph."""
        inputs = [tensor for tensor in self.inputs if tensor.requires_grad]
        if not self.output.requires_grad or not inputs:
            return False
        gradient = self.output.grad
        if gradient is None or not is_finite([gradient]):
            return False
        given = torch.autograd.grad(
            self.output, inputs, gradient, retain_graph=True, allow_unused=True
        )
        return not is_finite([tensor for tensor in given if tensor is not None])


_recording: list[list[CallRecord]] = []


@contextlib.contextmanager
def recording() -> Iterator[list[CallRecord]]:
    """Record the calls of parts within the block."""
    records: list[CallRecord] = []
    _recording.append(records)
    try:
        yield records
    finally:
        _recording.remove(records)


def is_recording() -> bool:
    """Whether calls are being recorded."""
    return bool(_recording)


def record(name: str, inputs: Sequence[Tensor], output: Tensor) -> None:
    """Record one call, if recording is on."""
    if not _recording:
        return
    if output.requires_grad and not output.is_leaf:
        output.retain_grad()
    _recording[-1].append(CallRecord(name, inputs, output))


def is_finite(tensors: Sequence[Tensor]) -> bool:
    """Whether all values of all tensors are finite."""
    return all(bool(torch.isfinite(tensor.detach()).all()) for tensor in tensors)
