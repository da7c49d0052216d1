"""The optimisation loop. Start reading here.

`run.look` makes a view of the step: the picture now, and its crops and embeddings for whoever asks.
Each loss turns the view into a number. The sum flows back through perceptors, crops and picture to
the parameters of the generator, and `run.advance` moves them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from pixweave.engine.run import Run
    from pixweave.events import Frame


def generate(run: Run) -> Iterator[Frame]:
    """Move the generator's parameters downhill; yield one Frame per step.

    The frame holds the picture that the losses of its step were computed from, unless the generator
    has another to show, and shows it through the filters. A run that was loaded from a state
    continues from there.
    """
    for step in run.steps():
        view = run.look(step)
        weighted = [(loss, loss.weight(view.moment)) for loss in run.losses]
        # a weight of 0 costs nothing: the loss is not called
        nothing = view.image.new_zeros(())
        losses = {loss.name: w * loss(view) if w else nothing for loss, w in weighted}
        run.optimizer.zero_grad()
        if losses:
            total = torch.stack(list(losses.values())).sum()
            if total.requires_grad:  # not where all weights are 0, or nothing can move
                total.backward()
        run.advance(view.moment)
        yield run.frame(view, losses)
