"""Augmentation `example`: fade crops towards their mean grey."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pixweave import Component, Value, hookimpl, over_time

if TYPE_CHECKING:
    from torch import Generator as Rng
    from torch import Tensor

    from pixweave.component import BuildContext
    from pixweave.protocols import Augmentation
    from pixweave.timeline.values import Moment

api = 1


class Example(Component):
    """Fade each crop towards its mean, so that strong contrast alone does not please CLIP."""

    amount: Value = over_time(0.5, ge=0, le=1, description="the most that a crop fades, 1: fully")

    def build(self, run: BuildContext) -> Augmentation:
        """The augmentation: crops float32 `[N, 3, S, S]`, each with a random amount."""
        import torch

        def augment(crops: Tensor, rng: Rng, moment: Moment) -> Tensor:
            # draw on the CPU from `rng` alone: then the same seed gives the same crops
            random = torch.rand(len(crops), 1, 1, 1, generator=rng).to(crops.device)
            return crops.lerp(crops.mean((1, 2, 3), keepdim=True), random * self.amount.at(moment))

        return augment


@hookimpl
def register_augmentations() -> dict[str, type[Component]]:
    """Register `example`."""
    return {"example": Example}
