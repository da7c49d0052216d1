"""A first picture for the prompts, drawn by the recipe's sampler, for generators to begin with."""

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
    """The first picture for a run's prompts, `[1,3,H,W]` at its size; None if there are none.

    Where the generator makes alpha it is `[1,4,H,W]`, and a plain background is transparent.
    """
    prompts = prompts_to_sample(run.recipe)
    if not prompts:
        return None
    width, height = run.size
    picture = sample_picture(run, prompts, rng)
    if getattr(run.recipe.generator.settings, "alpha", False):
        picture = cut_out(picture)
    return F.interpolate(picture, (height, width), mode="bicubic").clamp(0, 1)


def sample_picture(
    run: BuildContext, prompts: Sequence[tuple[str, float]], rng: torch.Generator
) -> Tensor:
    """A picture `[1,3,S,S]`, 0..1, that the recipe's sampler draws for texts with their weights."""
    if run.recipe.sampler is None:
        raise RunError(f"{run.part.name} starts from a sample, and no plugin offers a sampler")
    sampler: Sampler = run.make(run.recipe.sampler)
    return sampler.sample(prompts, rng)


def cut_out(picture: Tensor, near: float = 0.2) -> Tensor:
    """Return `[1,4,H,W]`: what reaches in from the edge in the edge's own colour is transparent.

    All of `[1,3,H,W]` is opaque where most of its edge is further than `near` (the greatest
    difference of a channel, 0..1) from the colour in the middle of the others: no plain background.
    The new edge is soft, and has the colours of what lies within, none of the background.
    """
    edge = torch.ones_like(picture[:, :1])
    edge[:, :, 1:-1, 1:-1] = 0
    behind = picture[:, :, edge[0, 0] > 0].median(dim=2).values[..., None, None]
    alike = ((picture - behind).abs().amax(1, keepdim=True) < near).float()
    if (alike * edge).sum() < edge.sum() / 2:
        return torch.cat([picture, torch.ones_like(edge)], 1)
    found, before = alike * edge, torch.zeros_like(edge)
    while not torch.equal(found, before):
        found, before = F.max_pool2d(found, 3, stride=1, padding=1) * alike, found
    there = 1 - found
    return torch.cat([_spread(picture, there), F.avg_pool2d(there, 3, stride=1, padding=1)], 1)


def _spread(picture: Tensor, there: Tensor, reach: int = 4) -> Tensor:
    """The picture with the colours of what is there, but for its rim, led on over the edge."""
    known = -F.max_pool2d(-there, 3, stride=1, padding=1)
    colours = picture * known
    for _ in range(reach):
        share = F.avg_pool2d(known, 3, stride=1, padding=1)
        mean = F.avg_pool2d(colours, 3, stride=1, padding=1) / share.clamp(min=1e-6)
        new = (known == 0) & (share > 0)
        colours, known = torch.where(new, mean, colours), known + new.float()
    return torch.where(known > 0, colours, picture)
