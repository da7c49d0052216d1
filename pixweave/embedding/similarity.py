"""Distances in a perceptor's space, and pictures taken into it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from pixweave.media import images

if TYPE_CHECKING:
    from pixweave.component import Part
    from pixweave.protocols import Perceptor
    from pixweave.timeline.values import Moment

TOO_NEAR = 0.9
"""Captions of a bank nearer than this cosine to the prompt mean the same and are left out."""


def distance(embedding: Tensor, target: Tensor) -> Tensor:
    """Half the squared great-circle distance of unit vectors `[..., D]` and `[D]` or `[1, D]`.

    0 when they agree, pi^2 / 2 when they are opposite (Crowson's spherical distance loss).
    """
    half_chord = (F.normalize(embedding.float(), dim=-1) - F.normalize(target, dim=-1)).norm(dim=-1)
    return 2 * (half_chord / 2).clamp(max=1 - 1e-6).arcsin() ** 2


def contrast(embedding: Tensor, target: Tensor, bank: Tensor, scale: float = 10.0) -> Tensor:
    """How badly `[..., D]` is told apart from the captions `bank` `[K, D]`: 1 is chance.

    The cross entropy of the target among the bank at temperature 1 / `scale` (CLIP's own training
    loss, read as zero-shot classification), divided by that of a blind guess.
    """
    logits = scale * embedding.float() @ torch.cat([target.view(1, -1), bank]).T
    return -F.log_softmax(logits, dim=-1)[..., 0] / math.log(len(bank) + 1)


def unlike(bank: Tensor, target: Tensor) -> Tensor:
    """The captions of a bank `[K, D]` that mean something else than the target."""
    return bank[(bank @ target.flatten()) < TOO_NEAR]


def shares(perceptors: Iterable[Part], names: Iterable[str], moment: Moment) -> dict[str, float]:
    """The weights of the perceptors of these names at a moment, made to sum to 1."""
    weights = {p.id: p.weight.at(moment) for p in perceptors if p.id in names}
    total = sum(weights.values()) or 1.0
    return {name: weight / total for name, weight in weights.items()}


def embed_picture(path: Path, perceptor: Perceptor, device: torch.device) -> Tensor:
    """Unit vector `[1, D]` of a picture file: the mean over squares along its long side."""
    picture = images.from_file(path).to(device)
    if picture.shape[1] == 4:  # transparent parts count as white
        picture = picture[:, :3] * picture[:, 3:] + 1 - picture[:, 3:]
    height, width = picture.shape[-2:]
    short = min(height, width)
    count = min(5, round(max(height, width) / short * 1.5))
    squares = []
    for i in range(count):
        place = i / max(1, count - 1)
        top, left = round((height - short) * place), round((width - short) * place)
        square = picture[..., top : top + short, left : left + short]
        side = (perceptor.size, perceptor.size)
        squares.append(F.interpolate(square, side, mode="bilinear", antialias=True))
    mean = perceptor.encode_image(torch.cat(squares).clamp(0, 1)).float().mean(0, keepdim=True)
    return F.normalize(mean, dim=-1)
