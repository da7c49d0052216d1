"""The perceptual loss of a VQGAN under training."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Eye(nn.Module):
    """How different pictures look to the embedded CLIP: features of its layers, whole and crop."""

    def __init__(self) -> None:
        super().__init__()
        from pixweave_tiny.clip_model import load_tiny_clip

        clip = load_tiny_clip()
        self.tower: Any = clip.visual
        self.side: int = clip.image_size

    def forward(self, made: Tensor, images: Tensor, rng: torch.Generator) -> Tensor:
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
        if hasattr(self.tower, "maps"):
            found = [each.flatten(2).transpose(1, 2) for each in self.tower.maps(x)]
        else:
            tower = self.tower
            x = tower.conv1(x).flatten(2).transpose(1, 2)
            x = torch.cat([tower.class_embedding.to(x.dtype).expand(len(x), 1, -1), x], 1)
            x = tower.ln_pre(x + tower.positional_embedding.to(x.dtype))
            found = [x]
            for block in tower.transformer.resblocks:
                found.append(x := block(x, None))
        return [F.layer_norm(each.float(), each.shape[-1:]) for each in found]
