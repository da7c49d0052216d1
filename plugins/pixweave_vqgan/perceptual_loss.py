"""The perceptual loss of VQGAN training, on features of a perceptor, similar to LPIPS."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pixweave import RunError


class PerceptualLoss:
    """Difference between the perceptor's features of two images, on the whole image and on a crop.

    After Zhang et al. 2018 (LPIPS), without trained weights on the channels. Raises RunError for a
    perceptor without `features`.
    """

    def __init__(self, perceptor: Any) -> None:
        if not hasattr(perceptor, "features"):
            raise RunError("the perceptor has no features; use 'tiny', or set perceptual=0")
        self.perceptor, self.side = perceptor, int(perceptor.size)

    def __call__(self, rebuilt: Tensor, images: Tensor, rng: torch.Generator) -> Tensor:
        """Return the mean squared difference of normalised features of `[B,3,S,S]`; about 0..2."""
        both = torch.cat([rebuilt, images])
        views = [F.interpolate(both, size=(self.side,) * 2, mode="bilinear", antialias=True)]
        free = both.shape[-1] - self.side
        if free > 0:
            top, left = torch.randint(0, free + 1, (2,), generator=rng).tolist()
            views.append(both[:, :, top : top + self.side, left : left + self.side])
        total = torch.zeros((), device=rebuilt.device)
        for view in views:
            features = self.features(view)
            for feature in features:
                new, old = feature.float().chunk(2)
                total = total + (new - old.detach()).square().mean() / len(features)
        return total / len(views)

    def features(self, x: Tensor) -> list[Tensor]:
        """Return features of every layer, `[N,positions,C]`, with mean 0 and deviation 1 over C."""
        layers = self.perceptor.features(x)
        return [F.layer_norm(layer.float(), layer.shape[-1:]) for layer in layers]
