"""The optimisation loop. Start reading here.

`run.look` makes a `View` of the step: the picture now, and its crops and embeddings for whoever
asks. Each loss turns the view into a number. The sum flows back through perceptors, crops and
picture to the parameters of the generator, and `run.advance` moves them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from pixweave.protocols import Frame

if TYPE_CHECKING:
    from pixweave.engine.run import Run


def generate(run: Run) -> Iterator[Frame]:
    """Move the generator's parameters downhill; yield one Frame per step.

    The frame holds the picture that the losses of its step were computed from, unless the generator
    has another to show, and shows it through the filters. A run that was loaded from a state goes
    on from there.
    """
    for step in run.steps():
        view = run.look(step)
        losses = {part.name: part.weight(step) * part(view) for part in run.losses}
        run.optimizer.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()
        run.advance(step)
        # left on the device: reading a loss here would wait for the device at every step
        values = {name: loss.detach() for name, loss in losses.items()}
        yield Frame(step, run.shown(view), values, run.finish)
