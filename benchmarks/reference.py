"""Plain CLIP-guided pixels, written as in Pixray and similar tools, with kornia and open_clip.

`benchmarks/loop.py` compares pixweave with this. The cutouts are Pixray's (2022) for a square
image: the whole image is pooled down to the perceptor's size (mean of average and maximum pooling),
then zoomed (perspective, resized crop) or wide (affine, centre crop, perspective), with colour
jitter and noise. The code is straightforward, not deliberately slow: the weights are frozen, and
Pixray's rescaling of each batch of cutouts to its extremes is left out, as in VQGAN-CLIP (it would
make this side slightly slower).
"""

from __future__ import annotations

from typing import Any

import kornia.augmentation as K
import torch
import torch.nn.functional as F
from kornia.geometry.transform import warp_perspective
from open_clip import OPENAI_DATASET_MEAN, OPENAI_DATASET_STD
from torch import Tensor, nn


class Perspective(K.RandomPerspective):
    """kornia's random perspective with a choice of padding outside the image."""

    padding = "reflection"
    grey = 0.5

    def apply_transform(
        self, input: Tensor, params: Any, flags: Any, transform: Tensor | None = None
    ) -> Tensor:
        assert transform is not None
        return warp_perspective(
            input,
            transform,
            input.shape[-2:],
            align_corners=False,
            padding_mode=self.padding,
            fill_value=torch.full((3,), self.grey) if self.padding == "fill" else None,
        )


class Cutouts:
    """Make `count` cutouts `[N, 3, S, S]` of a square image `[1, 3, H, W]`."""

    def __init__(self, size: int, count: int) -> None:
        self.size, self.count, self.zoomed = size, count, int(0.6 * count)
        self.average = nn.AdaptiveAvgPool2d(size)
        self.largest = nn.AdaptiveMaxPool2d(size)
        self.near = Perspective(0.40, p=0.7)
        self.far = Perspective(0.20, p=0.7)
        self.far.padding = "fill"
        self.crop = K.RandomResizedCrop(
            (size, size), scale=(0.25, 0.95), ratio=(0.85, 1.2), cropping_mode="resample"
        )
        self.centre = K.CenterCrop(size, cropping_mode="resample")
        self.jitter = K.ColorJiggle(hue=0.1, saturation=0.1, p=0.8)

    def __call__(self, image: Tensor, step: int) -> Tensor:
        self.near.padding = "border" if step % 2 else "reflection"
        grey = float(torch.rand(()))
        self.far.grey = grey
        pooled = [(self.average(image) + self.largest(image)) / 2 for _ in range(self.count)]
        zoomed = torch.cat(pooled[: self.zoomed])
        zoomed = self.jitter(self.crop(self.near(zoomed)))
        wide = torch.cat(pooled[self.zoomed :])
        affine = K.RandomAffine(
            0,
            translate=(0.025, 0.025),
            scale=(0.95, 0.95),
            p=1.0,
            padding_mode="fill",
            fill_value=torch.full((3,), grey),
        )
        wide = self.jitter(self.far(self.centre(affine(wide))))
        cutouts = torch.cat([zoomed, wide])
        strength = 0.1 * torch.rand(self.count, 1, 1, 1)
        return cutouts + strength * torch.randn_like(cutouts)


class Reference:
    """An image of `side` pixels with `cells` x `cells` colours, optimised for a prompt by Adam."""

    def __init__(
        self,
        model: Any,
        tokens: Tensor,
        side: int,
        cells: int,
        crops: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.model, self.dtype, self.side = model, dtype, side
        with torch.no_grad():
            self.target = F.normalize(model.encode_text(tokens).float(), dim=-1)
        model.visual.to(dtype)
        self.mean = torch.tensor(OPENAI_DATASET_MEAN).view(1, 3, 1, 1)
        self.std = torch.tensor(OPENAI_DATASET_STD).view(1, 3, 1, 1)
        self.grid = (0.5 + 0.05 * torch.randn(1, 3, cells, cells)).requires_grad_()
        self.optimizer = torch.optim.Adam([self.grid], lr=0.06)
        self.cutouts = Cutouts(model.visual.image_size[0], crops)

    def image(self) -> Tensor:
        """Return the image `[1, 3, side, side]`."""
        return F.interpolate(self.grid, self.side, mode="nearest")

    def encode(self, cutouts: Tensor) -> Tensor:
        """Return unit vectors of cutouts, from open_clip's own forward pass."""
        normalised = ((cutouts - self.mean) / self.std).to(self.dtype)
        return F.normalize(self.model.encode_image(normalised).float(), dim=-1)

    def step(self, step: int) -> Tensor:
        """Do one iteration and return the loss."""
        embedding = self.encode(self.cutouts(self.image(), step))
        half_chord = (embedding - self.target).norm(dim=-1) / 2
        loss = (2 * half_chord.arcsin() ** 2).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.constrain()
        return loss.detach()

    def constrain(self) -> None:
        """Clamp the colours to 0..1."""
        with torch.no_grad():
            self.grid.clamp_(0, 1)
