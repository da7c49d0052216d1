"""An initial image for the prompts, drawn by the recipe's sampler, for generators to start from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from pixweave.component import BuildContext
from pixweave.errors import RunError
from pixweave.recipe.sample_setting import prompts_to_sample

if TYPE_CHECKING:
    from pixweave.protocols import Sampler


def sampled_start(run: BuildContext, rng: torch.Generator) -> Tensor | None:
    """The initial image for a run's prompts, `[1,3,H,W]` at its size; None if it has no prompts.

    If the generator has alpha it is `[1,4,H,W]`, and a plain background is transparent. RunError if
    there is no sampler.
    """
    prompts = prompts_to_sample(run.recipe)
    if not prompts:
        return None
    width, height = run.size
    image = sample_picture(run, prompts, rng)
    if getattr(run.recipe.generator.settings, "alpha", False):
        image = cut_out(image)
    return F.interpolate(image, (height, width), mode="bicubic").clamp(0, 1)


def sample_picture(
    run: BuildContext, prompts: Sequence[tuple[str, float]], rng: torch.Generator
) -> Tensor:
    """An image `[1,3,S,S]`, 0..1, by the recipe's sampler for texts with their weights."""
    if run.recipe.sampler is None:
        raise RunError(f"{run.part.name} starts from a sample, but no plugin provides a sampler")
    sampler: Sampler = run.make(run.recipe.sampler)
    return sampler.sample(prompts, rng)


def cut_out(picture: Tensor, near: float = 0.2) -> Tensor:
    """The image `[1,3,H,W]` as `[1,4,H,W]` with its plain background made transparent.

    The background is what is connected to the image's edge and within `near` (largest difference
    of a channel, 0..1) of the median colour of the edge. If less than half of the edge is, there is
    no plain background and all of the image stays opaque. The new edge is soft, and has the colours
    of the foreground, none of the background.
    """
    edge = torch.ones_like(picture[:, :1])
    edge[:, :, 1:-1, 1:-1] = 0
    background = picture[:, :, edge[0, 0] > 0].median(dim=2).values[..., None, None]
    similar = ((picture - background).abs().amax(1, keepdim=True) < near).float()
    if (similar * edge).sum() < edge.sum() / 2:
        return torch.cat([picture, torch.ones_like(edge)], 1)
    found, before = similar * edge, torch.zeros_like(edge)
    while not torch.equal(found, before):
        found, before = F.max_pool2d(found, 3, stride=1, padding=1) * similar, found
    opaque = 1 - found
    return torch.cat([_spread(picture, opaque), F.avg_pool2d(opaque, 3, stride=1, padding=1)], 1)


def _spread(picture: Tensor, opaque: Tensor, reach: int = 4) -> Tensor:
    """The image with the foreground's colours (without its outermost pixel) extended outwards."""
    known = -F.max_pool2d(-opaque, 3, stride=1, padding=1)
    colours = picture * known
    for _ in range(reach):
        share = F.avg_pool2d(known, 3, stride=1, padding=1)
        mean = F.avg_pool2d(colours, 3, stride=1, padding=1) / share.clamp(min=1e-6)
        new = (known == 0) & (share > 0)
        colours, known = torch.where(new, mean, colours), known + new.float()
    return torch.where(known > 0, colours, picture)
