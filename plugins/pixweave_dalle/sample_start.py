"""A first picture for prompts: sampled codes, decoded, and the one that CLIP likes best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from pixweave_dalle import wanted

if TYPE_CHECKING:
    from pixweave.engine.run import Run


def sampled(run: Run, rng: torch.Generator) -> Tensor | None:
    """The first picture for a run's prompts, `[1,3,H,W]` at its size; None if it wants none.

    What generators with a setting `sample` begin with; see `pixweave_dalle.SAMPLE`. Where the
    generator makes alpha it is `[1,4,H,W]`, and a plain background is transparent.
    """
    texts = wanted(run.recipe)
    if not texts:
        return None
    width, height = run.size
    picture = first_picture(texts, rng, run.device)
    if getattr(run.recipe.generator.settings, "alpha", False):
        picture = cut_out(picture)
    return F.interpolate(picture, (height, width), mode="bicubic").clamp(0, 1)


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


@torch.no_grad()
def first_picture(
    prompts: Sequence[tuple[str, float]],
    rng: torch.Generator,
    device: torch.device,
    count: int = 24,
) -> Tensor:
    """Return `[1,3,64,64]`, 0..1, for texts with their weights; there is one above 0 or more.

    `tiny-dalle` makes `count` pictures of each text that is wanted, `tiny-vqgan` decodes them, and
    `tiny-clip` takes the best for all texts together (re-ranking, Ramesh et al. 2021).
    """
    # three models, which generators that begin otherwise need not import
    from pixweave_tiny.clip_model import load_tiny_clip
    from pixweave_vqgan.vqgan_model import load_vqgan

    from pixweave_dalle.dalle_model import load_dalle

    sampler, decoder = load_dalle().to(device), load_vqgan().to(device)
    judge = load_tiny_clip().to(device)
    wanted = [text for text, weight in prompts if weight > 0 for _ in range(count)]
    codes = torch.cat([sampler.sample(part, rng) for part in _batches(wanted)])
    pictures = decoder.decode(decoder.look_up(codes)).clamp(0, 1)
    views = F.interpolate(pictures, size=(judge.image_size,) * 2, mode="bilinear", antialias=True)
    texts = judge.encode_text([text for text, _ in prompts])
    weights = torch.tensor([weight for _, weight in prompts], device=device)
    liked = judge.encode_image(views) @ texts.T @ weights
    return pictures[liked.argmax()][None]


def _batches(texts: Sequence[str], size: int = 48) -> list[Sequence[str]]:
    return [texts[start : start + size] for start in range(0, len(texts), size)]
