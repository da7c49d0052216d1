"""Corrupt images to look like intermediate results: shifted, mosaic, noisy, unfinished, wrong."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def uniform(images: Tensor, low: float, high: float) -> Tensor:
    """Return random numbers [N,1,1,1] between ``low`` and ``high`` for ``images`` [N,...]."""
    return torch.rand(len(images), 1, 1, 1, device=images.device) * (high - low) + low


def chance(images: Tensor, probability: float) -> Tensor:
    """Return [N,1,1,1] for ``images`` [N,...]: 1.0 with ``probability``, else 0.0."""
    return (torch.rand(len(images), 1, 1, 1, device=images.device) < probability).float()


def shift(images: Tensor, size: int, amount: float = 1.0) -> Tensor:
    """Zoom 0.8..1.25, shift up to 18 %, rotate slightly [N,3,S,S] to ``size`` px; edges repeat."""
    count = len(images)
    zoom = 1 + (uniform(images, -0.2, 0.22) * amount).flatten()
    turn = torch.randn(count, device=images.device) * 0.05 * amount
    theta = torch.zeros(count, 2, 3, device=images.device)
    theta[:, 0, 0] = theta[:, 1, 1] = zoom * turn.cos()
    theta[:, 0, 1], theta[:, 1, 0] = -zoom * turn.sin(), zoom * turn.sin()
    theta[:, :, 2] = (torch.rand(count, 2, device=images.device) - 0.5) * 0.36 * amount
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


def coarse_noise(images: Tensor) -> Tensor:
    """Return [N,3,S,S] of 0..1: coloured noise at one coarse scale for each quarter."""
    parts, size = [], images.shape[-1]
    for part in images.chunk(4):
        side = int(torch.tensor([1, 2, 3, 4, 6, 8, 12])[torch.randint(7, (1,))])
        noise = torch.rand(len(part), 3, side, side, device=images.device)
        parts.append(F.interpolate(noise, size=(size, size), mode="bilinear"))
    return torch.cat(parts)


def bend(images: Tensor) -> Tensor:
    """Warp [N,3,S,S] smoothly, which keeps the colours but not the shapes; blur a third of them."""
    count, size = len(images), images.shape[-1]
    grid = F.affine_grid(
        torch.eye(2, 3, device=images.device).expand(count, 2, 3),
        list(images.shape),
        align_corners=False,
    )
    strength = uniform(images, 0.1, 0.55)
    pull = [
        F.interpolate(
            torch.randn(len(part), 2, side, side, device=images.device),
            size=(size, size),
            mode="bilinear",
        )
        for part, side in zip(images.chunk(3), (3, 4, 6), strict=False)
    ]
    moved = grid + (torch.cat(pull) * strength).permute(0, 2, 3, 1)
    bent = F.grid_sample(images, moved, padding_mode="border", align_corners=False)
    soft = F.avg_pool2d(F.pad(bent, (3, 3, 3, 3), mode="replicate"), 7, stride=1)
    return torch.where(chance(images, 0.33) > 0, soft, bent)


def tone(images: Tensor) -> Tensor:
    """Vary brightness and contrast a little."""
    contrast, light = uniform(images, 0.8, 1.15), uniform(images, -0.08, 0.08)
    return ((images - 0.5) * contrast + 0.5 + light).clamp(0, 1)


def unfinished(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return blends [N,3,S,S] of ``images`` and another base, and the share of that base, [N].

    The base is one colour, coarse noise, another image, the blurred image, or the warped image.
    """
    count, size, device = len(images), images.shape[-1], images.device
    others = images.roll(1 + int(torch.randint(max(count - 1, 1), (1,))), 0)
    blurred = F.interpolate(
        F.interpolate(images, size=(5, 5), mode="area"), size=(size, size), mode="bilinear"
    )
    colour = torch.rand(count, 3, 1, 1, device=device).expand_as(images)
    gray = (0.5 + torch.randn(count, 1, 1, 1, device=device) * 0.1).expand_as(images)
    bent = bend(images)
    bases = torch.stack([coarse_noise(images), others, blurred, colour, gray, bent, bent, bent])
    kind = torch.randint(len(bases), (count,), device=device)
    base = bases[kind, torch.arange(count, device=device)]
    amount = uniform(images, 0, 1) ** 1.2
    amount = torch.where((kind > 4)[:, None, None, None], amount.clamp(min=0.75), amount)
    # a quarter of them are corrupted in one part of the image only
    region = (coarse_noise(images).mean(1, keepdim=True) > 0.45).float()
    amount = amount * torch.where(chance(images, 0.25) > 0, region, torch.ones_like(region))
    corrupted = images * (1 - amount) + base * amount
    strength = uniform(images, 0, 1) ** 2 * 0.2 * chance(images, 0.6)
    corrupted = corrupted + torch.randn_like(images) * strength
    coarse = (coarse_noise(images) - 0.5) * uniform(images, 0, 0.5) * chance(images, 0.5)
    return (corrupted + coarse).clamp(0, 1), amount.mean((1, 2, 3))
