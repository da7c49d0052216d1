"""Find the part that makes an image, a loss or a gradient infinite or nan, at the step it happens.

The check of a step reads one number. Only if it is not finite, the step is done again while the
calls of all parts are recorded: the culprit gave nan for finite values, or turned a finite gradient
into nan.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from pixweave.borders.call_records import CallRecord, is_finite, record, recording
from pixweave.borders.guard import full_name
from pixweave.errors import PartError, RunError

if TYPE_CHECKING:
    from pixweave.engine.run import Run
    from pixweave.engine.view import StepView

EVERY = 10
"""Steps between two checks on a GPU, where a check waits for the device."""


def check_gradients(run: Run, view: StepView, total: Tensor) -> None:
    """Raise the error of the culprit if the `total` loss or a gradient is infinite or nan."""
    if run.device.type != "cpu" and view.step % EVERY:
        return
    gradients = [p.grad for p in run.parameters if p.grad is not None]
    values = [total.detach(), *gradients]
    if bool(torch.isfinite(torch.stack([value.sum() for value in values]).sum())):
        return
    if not is_finite(values):  # else finite values have an infinite sum
        raise _find_culprit(run, view)


def _find_culprit(run: Run, view: StepView) -> PartError | RunError:
    parameters = run.parameters
    at = f"at step {view.step}"
    if not is_finite(parameters):
        return RunError(
            f"the parameters of {full_name(run.recipe.generator)} became nan or infinite before "
            f"step {view.step}; lower optimizer.rate or the weights of the losses"
        )
    with recording() as records:
        again = run.view(view.moment, run.canvas.picture())
        losses = _losses(run, again, records)
    for call in records:
        if call.gives_bad_values():
            value = f"{call.output.item():g}" if call.output.ndim == 0 else "nan or infinite values"
            return PartError(
                call.name, f"gave {value} {at}; if its formula is right, lower optimizer.rate"
            )
    run.optimizer.zero_grad()
    torch.stack([weight * loss for _, weight, loss in losses]).sum().backward(retain_graph=True)
    for call in records:
        if call.gives_bad_gradient():
            return PartError(call.name, _BAD_GRADIENT.format(at=at))
    handed = [again.raw, *(call.output for call in records if call.output.ndim)]
    for name, weight, loss in losses:
        if not is_finite(_gradients(weight * loss, handed)):
            return PartError(name, _BAD_GRADIENT.format(at=at))
    return RunError(f"the gradient became nan or infinite {at}; lower optimizer.rate")


_BAD_GRADIENT = (
    "gave a gradient that is nan or infinite {at}, although its value is finite; sqrt, norm and "
    "log have one at 0: add a small number first"
)


def _losses(run: Run, view: StepView, records: list[CallRecord]) -> list[tuple[str, float, Tensor]]:
    """The full name, the weight and the value of each loss that counts."""
    found = []
    for loss in run.losses:
        if weight := loss.weight(view.moment):
            value, name = loss(view), full_name(loss.part)
            found.append((name, weight, value))
            handed = [view.raw, *(call.output for call in records if call.output.ndim)]
            record(name, handed, value)
    return found


def _gradients(value: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    wanted = [tensor for tensor in tensors if tensor.requires_grad]
    if not wanted or not value.requires_grad:
        return []
    found = torch.autograd.grad(value, wanted, retain_graph=True, allow_unused=True)
    return [gradient for gradient in found if gradient is not None]
