"""The optimisation loop. Start reading here.

`run.look` makes a view of the step: the current image, and its crops and embeddings on request.
Each loss maps the view to a number. The gradient of their sum flows back through perceptors, crops
and image to the generator's parameters, and `run.advance` updates them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

from pixweave.engine.gradient_check import check_gradients

if TYPE_CHECKING:
    from pixweave.engine.run import Run
    from pixweave.events import Frame


def generate(run: Run) -> Iterator[Frame]:
    """Optimise the generator's parameters; yield one Frame per step.

    The frame holds the image that the losses of its step were computed from, unless the generator
    gives another one to show; `frame.image` is that image after the filters. A run loaded from a
    state continues from there.
    """
    for step in run.steps():
        view = run.look(step)
        weighted = [(loss, loss.weight(view.moment)) for loss in run.losses]
        # a loss with weight 0 is not called
        zero = view.image.new_zeros(())
        losses = {loss.name: w * loss(view) if w else zero for loss, w in weighted}
        run.optimizer.zero_grad()
        if losses:
            total = torch.stack(list(losses.values())).sum()
            if total.requires_grad:  # false if all weights are 0, or there are no parameters
                total.backward()
                check_gradients(run, view, total)
        run.advance(view.moment)
        yield run.frame(view, losses)
