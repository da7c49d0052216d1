"""Masks of a recipe, drawn at the size of the picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from pixweave.errors import RunError
from pixweave.media.compositing import lay
from pixweave.media.images import from_file
from pixweave.media.region import Region, region_of

if TYPE_CHECKING:
    from pixweave.recipe.image_inputs import Mask


def draw_mask(settings: Mask, size: tuple[int, int], device: torch.device) -> Region:
    """The region that the settings mean on a picture of that size; RunError if it is empty."""
    mask = _boxed(settings, size) if settings.box else _read(settings, size)
    if settings.invert:
        mask = 1 - mask
    if settings.soften:
        mask = soften(mask, settings.soften * min(size))
    if not (mask > 0).any():
        if settings.image and settings.channel != "alpha":
            remedy = "white is inside; 'invert: true' turns it round"
        else:
            remedy = "nothing can be inside of it; 'invert: true' turns it round"
        raise RunError(f"{settings} has nothing inside at {size[0]}x{size[1]} pixels; {remedy}")
    return region_of(mask.to(device))


def soften(mask: Tensor, width: float) -> Tensor:
    """The mask with an edge that fades inwards over about `width` pixels; 0 stays 0."""
    reach = max(1, round(width))
    ramp = reach + 1 - torch.arange(-reach, reach + 1).abs().float()
    ramp = (ramp / ramp.sum()).to(mask.device)
    padded = F.pad(mask, (reach,) * 4, mode="replicate")
    blurred = F.conv2d(F.conv2d(padded, ramp.view(1, 1, 1, -1)), ramp.view(1, 1, -1, 1))
    return mask * (2 * blurred - 1).clamp(0, 1)


def _boxed(settings: Mask, size: tuple[int, int]) -> Tensor:
    assert settings.box is not None
    (width, height), (left, top, right, bottom) = size, settings.box
    mask = torch.zeros(1, 1, height, width)
    mask[
        ...,
        round(top * height) : round(bottom * height),
        round(left * width) : round(right * width),
    ] = 1
    return mask


def _read(settings: Mask, size: tuple[int, int]) -> Tensor:
    assert settings.image is not None
    picture = from_file(settings.image)
    alpha = picture[:, 3:]
    by_alpha = settings.channel == "alpha" or (
        settings.channel is None and alpha.numel() > 0 and bool((alpha < 1).any())
    )
    if by_alpha:
        mask = alpha if alpha.numel() else torch.ones_like(picture[:, :1])
    else:
        mask = picture[:, :3].mean(1, keepdim=True)
    laid = lay(
        torch.cat([mask.expand(-1, 3, -1, -1), torch.ones_like(mask)], 1),
        size,
        settings.fit or "cover",
    )
    return laid[:, :1] * laid[:, 3:]
