"""Distances in a perceptor's embedding space, and the embedding of an image file."""

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
"""Captions of a bank with a cosine to the prompt of at least this mean the same; left out."""


def distance(embedding: Tensor, target: Tensor) -> Tensor:
    """Half the squared great-circle distance of unit vectors `[..., D]` and `[D]` or `[1, D]`.

    0 when they agree, pi^2 / 2 when they are opposite (Crowson's spherical distance loss).
    """
    half_chord = (F.normalize(embedding.float(), dim=-1) - F.normalize(target, dim=-1)).norm(dim=-1)
    return 2 * (half_chord / 2).clamp(max=1 - 1e-6).arcsin() ** 2


def contrast(embedding: Tensor, target: Tensor, bank: Tensor, scale: float = 10.0) -> Tensor:
    """Loss of classifying `[..., D]` as the target among the captions `bank` `[K, D]`; 1: chance.

    The cross entropy of the target among the bank at temperature 1 / `scale` (CLIP's training loss,
    read as zero-shot classification), divided by that of a random guess.
    """
    logits = scale * embedding.float() @ torch.cat([target.view(1, -1), bank]).T
    return -F.log_softmax(logits, dim=-1)[..., 0] / math.log(len(bank) + 1)


def unlike(bank: Tensor, target: Tensor) -> Tensor:
    """The captions of a bank `[K, D]` whose meaning differs from the target's."""
    return bank[(bank @ target.flatten()) < TOO_NEAR]


def shares(perceptors: Iterable[Part], names: Iterable[str], moment: Moment) -> dict[str, float]:
    """The weights of the perceptors with these ids at a moment, normalised to sum to 1."""
    weights = {p.id: p.weight.at(moment) for p in perceptors if p.id in names}
    total = sum(weights.values()) or 1.0
    return {name: weight / total for name, weight in weights.items()}


def embed_picture(path: Path, perceptor: Perceptor, device: torch.device) -> Tensor:
    """Unit vector `[1, D]` of an image file: the mean over squares along its long side.

    MissingError if it is not a readable image.
    """
    image = images.read_image(path).to(device)
    if image.shape[1] == 4:  # transparent parts count as white
        image = image[:, :3] * image[:, 3:] + 1 - image[:, 3:]
    height, width = image.shape[-2:]
    short = min(height, width)
    count = min(5, round(max(height, width) / short * 1.5))
    squares = []
    for i in range(count):
        position = i / max(1, count - 1)
        top, left = round((height - short) * position), round((width - short) * position)
        square = image[..., top : top + short, left : left + short]
        side = (perceptor.size, perceptor.size)
        squares.append(F.interpolate(square, side, mode="bilinear", antialias=True))
    mean = perceptor.encode_image(torch.cat(squares).clamp(0, 1)).float().mean(0, keepdim=True)
    return F.normalize(mean, dim=-1)
