"""Masks of a recipe, drawn at the size of the image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from pixweave.errors import RunError
from pixweave.media.compositing import lay
from pixweave.media.images import read_image
from pixweave.media.region import Region, region_of

if TYPE_CHECKING:
    from pixweave.recipe.image_inputs import Mask


def draw_mask(settings: Mask, size: tuple[int, int], device: torch.device) -> Region:
    """The region of a mask for an image of `size` (width, height); RunError if it is empty."""
    mask = _from_box(settings, size) if settings.box else _from_image(settings, size)
    if settings.invert:
        mask = 1 - mask
    if settings.soften:
        mask = soften(mask, settings.soften * min(size))
    if not (mask > 0).any():
        if settings.image and settings.channel != "alpha":
            hint = "white is inside; 'invert: true' inverts it"
        else:
            hint = "it must cover at least one pixel; 'invert: true' inverts it"
        raise RunError(f"{settings} is empty at {size[0]}x{size[1]} pixels; {hint}")
    return region_of(mask.to(device))


def soften(mask: Tensor, width: float) -> Tensor:
    """The mask with its edge faded inwards over about `width` pixels; 0 stays 0."""
    reach = max(1, round(width))
    ramp = reach + 1 - torch.arange(-reach, reach + 1).abs().float()
    ramp = (ramp / ramp.sum()).to(mask.device)
    padded = F.pad(mask, (reach,) * 4, mode="replicate")
    blurred = F.conv2d(F.conv2d(padded, ramp.view(1, 1, 1, -1)), ramp.view(1, 1, -1, 1))
    return mask * (2 * blurred - 1).clamp(0, 1)


def _from_box(settings: Mask, size: tuple[int, int]) -> Tensor:
    assert settings.box is not None
    (width, height), (left, top, right, bottom) = size, settings.box
    mask = torch.zeros(1, 1, height, width)
    mask[
        ...,
        round(top * height) : round(bottom * height),
        round(left * width) : round(right * width),
    ] = 1
    return mask


def _from_image(settings: Mask, size: tuple[int, int]) -> Tensor:
    assert settings.image is not None
    image = read_image(settings.image)
    alpha = image[:, 3:]
    by_alpha = settings.channel == "alpha" or (
        settings.channel is None and alpha.numel() > 0 and bool((alpha < 1).any())
    )
    if by_alpha:
        mask = alpha if alpha.numel() else torch.ones_like(image[:, :1])
    else:
        mask = image[:, :3].mean(1, keepdim=True)
    placed = lay(
        torch.cat([mask.expand(-1, 3, -1, -1), torch.ones_like(mask)], 1),
        size,
        settings.fit or "cover",
    )
    return placed[:, :1] * placed[:, 3:]
