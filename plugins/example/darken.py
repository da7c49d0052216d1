"""Augmentation `darken`: darken crops at random."""

from pixweave import Component, Field, hookimpl


class Darken(Component):
    """Darken each crop by a random factor."""

    most: float = Field(0.5, ge=0, lt=1, description="largest share of the brightness to remove")

    def build(self, run):
        import torch

        def augment(crops, rng, moment):
            lost = self.most * torch.rand(len(crops), 1, 1, 1, generator=rng)
            return crops * (1 - lost.to(crops.device))

        return augment


@hookimpl
def register_augmentations():
    return {"darken": Darken}
