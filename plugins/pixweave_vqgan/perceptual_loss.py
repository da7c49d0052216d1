"""The perceptual loss of a VQGAN under training, by the features of a perceptor (LPIPS' idea)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pixweave import RunError


class PerceptualLoss:
    """How different pictures look to a perceptor: features of its layers, of the whole and a crop.

    After Zhang et al. 2018 (LPIPS), without trained weights on the channels.
    """

    def __init__(self, perceptor: Any) -> None:
        if not hasattr(perceptor, "features"):
            raise RunError("the perceptor gives no features; use 'tiny', or set perceptual=0")
        self.perceptor, self.side = perceptor, int(perceptor.size)

    def __call__(self, made: Tensor, images: Tensor, rng: torch.Generator) -> Tensor:
        """Return the mean squared difference of normalised features of `[B,3,S,S]`; about 0..2."""
        both = torch.cat([made, images])
        views = [F.interpolate(both, size=(self.side,) * 2, mode="bilinear", antialias=True)]
        free = both.shape[-1] - self.side
        if free > 0:
            top, left = torch.randint(0, free + 1, (2,), generator=rng).tolist()
            views.append(both[:, :, top : top + self.side, left : left + self.side])
        total = torch.zeros((), device=made.device)
        for view in views:
            features = self.features(view)
            for feature in features:
                new, old = feature.float().chunk(2)
                total = total + (new - old.detach()).square().mean() / len(features)
        return total / len(views)

    def features(self, x: Tensor) -> list[Tensor]:
        """Return features of every depth, `[N,places,C]`, of mean 0 and deviation 1 over C."""
        found = self.perceptor.features(x)
        return [F.layer_norm(each.float(), each.shape[-1:]) for each in found]
