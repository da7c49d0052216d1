"""The losses of the training of a CLIP."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def contrast(image: Tensor, text: Tensor, truth: Tensor, scale: Tensor, weight: Tensor) -> Tensor:
    """Return the two-way contrastive loss, where each row may have several matches.

    ``truth`` [B,B] is 1.0 where a text (column) matches an image (row); ``weight`` [B] are weights
    of the images.
    """
    logits = scale * image @ text.T
    to_text = -(F.log_softmax(logits, dim=1) * truth / truth.sum(1, keepdim=True)).sum(1)
    columns = truth * weight[:, None]
    total = columns.sum(0).clamp(min=1e-6)
    hidden = logits + weight.clamp(min=1e-6).log()[:, None]  # corrupted images count less
    to_image = -(F.log_softmax(hidden, dim=0) * columns).sum(0) / total
    return ((to_text * weight).sum() / weight.sum() + to_image[columns.sum(0) > 0.2].mean()) / 2


def name_loss(logits: Tensor, right: Tensor, weight: Tensor) -> Tensor:
    """Return the cross-entropy of [N,K] against the matching columns, over rows that have any."""
    count = right.sum(1)
    weight = weight * (count > 0)
    each = -(F.log_softmax(logits, dim=1) * right).sum(1) / count.clamp(min=1)
    return (each * weight).sum() / weight.sum().clamp(min=1e-6)


def alignment(slope: Tensor, wanted: Tensor) -> Tensor:
    """Return a softened cosine similarity [N] of two fields [N,3,S,S].

    The mean over four scales, so that layout counts and not only fine detail. Softened, because the
    gradient of a plain cosine is unbounded where the slope is nearly flat, and those images would
    dominate.
    """
    total = torch.zeros(len(slope), device=slope.device)
    for side in (1, 2, 4, 8):
        actual, target = (F.avg_pool2d(field, side).flatten(1) for field in (slope, wanted))
        floor = actual.detach().square().sum(1).mean() * 0.5
        length = (actual.square().sum(1) + floor).sqrt()
        size = target.norm(dim=1)
        total = total + (actual * target).sum(1) / (length * (size + 0.3 * size.mean()))
    return total / 4
