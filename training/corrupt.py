"""Spoil pictures the way a guide meets them: shifted, mosaic, noisy, half made, half wrong."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def uniform(count: int, low: float, high: float) -> Tensor:
    """Return [count,1,1,1] random numbers between ``low`` and ``high``."""
    return torch.rand(count, 1, 1, 1) * (high - low) + low


def chance(count: int, probability: float) -> Tensor:
    """Return [count,1,1,1] of 0.0 and 1.0."""
    return (torch.rand(count, 1, 1, 1) < probability).float()


def shift(images: Tensor, size: int, amount: float = 1.0) -> Tensor:
    """Zoom 0.8..1.25, move by up to 18 %, slightly turn [N,3,S,S], to ``size`` px; edges repeat."""
    count = len(images)
    zoom = 1 + (uniform(count, -0.2, 0.22) * amount).flatten()
    turn = torch.randn(count) * 0.05 * amount
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = zoom * turn.cos()
    theta[:, 0, 1], theta[:, 1, 0] = -zoom * turn.sin(), zoom * turn.sin()
    theta[:, :, 2] = (torch.rand(count, 2) - 0.5) * 0.36 * amount
    grid = F.affine_grid(theta, [count, 3, size, size], align_corners=False)
    images = F.avg_pool2d(images, 2, stride=1)  # against aliasing
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def mosaic(images: Tensor) -> Tensor:
    """Redraw each of [N,3,S,S] on a coarse pixel grid: a quarter per grid size, hard or soft."""
    parts = []
    for part in images.chunk(4):
        side = int(torch.tensor([6, 8, 10, 12, 16, 20])[torch.randint(6, (1,))])
        small = F.interpolate(part, size=(side, side), mode="area")
        hard = torch.rand(1) < 0.5
        parts.append(
            F.interpolate(small, size=part.shape[-2:], mode="nearest" if hard else "bilinear")
        )
    return torch.cat(parts)


def coarse_noise(count: int, size: int) -> Tensor:
    """Return [count,3,S,S] of 0..1: coloured noise at one coarse scale for each quarter."""
    parts = []
    for rows in torch.arange(count).chunk(4):
        side = int(torch.tensor([1, 2, 3, 4, 6, 8, 12])[torch.randint(7, (1,))])
        noise = torch.rand(len(rows), 3, side, side)
        parts.append(F.interpolate(noise, size=(size, size), mode="bilinear"))
    return torch.cat(parts)


def bend(images: Tensor) -> Tensor:
    """Pull [N,3,S,S] out of shape: the right colours in a lump, a third also softened."""
    count, size = len(images), images.shape[-1]
    grid = F.affine_grid(
        torch.eye(2, 3).expand(count, 2, 3), list(images.shape), align_corners=False
    )
    strength = uniform(count, 0.1, 0.55)
    pull = [
        F.interpolate(torch.randn(len(rows), 2, side, side), size=(size, size), mode="bilinear")
        for rows, side in zip(torch.arange(count).chunk(3), (3, 4, 6), strict=False)
    ]
    moved = grid + (torch.cat(pull) * strength).permute(0, 2, 3, 1)
    bent = F.grid_sample(images, moved, padding_mode="border", align_corners=False)
    soft = F.avg_pool2d(F.pad(bent, (3, 3, 3, 3), mode="replicate"), 7, stride=1)
    return torch.where(torch.rand(count, 1, 1, 1) < 0.33, soft, bent)


def tone(images: Tensor) -> Tensor:
    """Vary brightness and contrast a little."""
    count = len(images)
    return ((images - 0.5) * uniform(count, 0.8, 1.15) + 0.5 + uniform(count, -0.08, 0.08)).clamp(
        0, 1
    )


def unfinished(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return [N,3,S,S] between something else and ``images``, and how far it is off, [N] of 0..1.

    The something else is one colour, coarse noise, another picture, the picture's own blur, or
    itself bent.
    """
    count, size = len(images), images.shape[-1]
    others = images.roll(1 + int(torch.randint(count - 1, (1,))), 0)
    blurred = F.interpolate(
        F.interpolate(images, size=(5, 5), mode="area"), size=(size, size), mode="bilinear"
    )
    colour = torch.rand(count, 3, 1, 1).expand_as(images)
    gray = (0.5 + torch.randn(count, 1, 1, 1) * 0.1).expand_as(images)
    bent = bend(images)
    bases = torch.stack(
        [coarse_noise(count, size), others, blurred, colour, gray, bent, bent, bent]
    )
    kind = torch.randint(len(bases), (count,))
    base = bases[kind, torch.arange(count)]
    amount = torch.rand(count, 1, 1, 1) ** 1.2
    amount = torch.where((kind > 4)[:, None, None, None], amount.clamp(min=0.75), amount)
    # half of them are off in one part of the picture only
    region = (coarse_noise(count, size).mean(1, keepdim=True) > 0.45).float()
    amount = amount * torch.where(
        torch.rand(count, 1, 1, 1) < 0.25, region, torch.ones_like(region)
    )
    spoiled = images * (1 - amount) + base * amount
    strength = uniform(count, 0, 1) ** 2 * 0.2 * chance(count, 0.6)
    spoiled = spoiled + torch.randn_like(images) * strength
    coarse = (coarse_noise(count, size) - 0.5) * uniform(count, 0, 0.5) * chance(count, 0.5)
    return (spoiled + coarse).clamp(0, 1), amount.mean((1, 2, 3))
