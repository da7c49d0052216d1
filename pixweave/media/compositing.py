"""Lay, resize, flatten, mix and blend pictures with alpha; all of them float32 tensors, 0..1."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

if TYPE_CHECKING:
    from pixweave.media.fit_modes import Fit, Resample
    from pixweave.media.palettes import Rgb

WHITE = (255, 255, 255)


def lay(
    picture: Tensor, size: tuple[int, int], fit: Fit = "cover", resample: Resample = "smooth"
) -> Tensor:
    """A picture `[1, 3 or 4, h, w]` on a canvas of `size`: straight alpha `[1, 4, H, W]`.

    What it does not reach is transparent. A picture of that very size is given as it is.
    """
    if picture.shape[1] == 3:
        picture = torch.cat([picture, torch.ones_like(picture[:, :1])], 1)
    (width, height), (high, wide) = size, picture.shape[-2:]
    if fit in ("cover", "contain", "stretch"):
        scales = width / wide, height / high
        if fit != "stretch":
            scales = (max(scales) if fit == "cover" else min(scales),) * 2
        sides = (max(1, round(high * scales[1])), max(1, round(wide * scales[0])))
        picture = resize(picture, sides, resample)
    elif fit == "tile":
        across, down = math.ceil(width / wide), math.ceil(height / high)
        picture = picture.repeat(1, 1, down, across)[..., :height, :width]
    return _centred(picture, height, width)


def resize(picture: Tensor, sides: tuple[int, int], resample: Resample = "smooth") -> Tensor:
    """Straight alpha `[B, 4, h, w]` at height and width `sides`; no colour leaks out of holes."""
    if tuple(picture.shape[-2:]) == sides:
        return picture
    colour, alpha = picture[:, :3], picture[:, 3:]
    whole = torch.cat([colour * alpha, alpha], 1)
    if resample == "crisp":
        whole = F.interpolate(whole, sides, mode="nearest-exact")
    else:
        whole = F.interpolate(whole, sides, mode="bicubic", antialias=True).clamp(0, 1)
    if bool((alpha == 1).all()):  # to the last bit, whatever the filter's weights sum to
        return torch.cat([whole[:, :3], torch.ones_like(whole[:, :1])], 1)
    alpha = whole[:, 3:]
    return torch.cat([(whole[:, :3] / alpha.clamp(min=1e-6)).clamp(0, 1), alpha], 1)


def _centred(picture: Tensor, height: int, width: int) -> Tensor:
    """The middle of the picture, with transparent bars where it is too small."""
    down, across = height - picture.shape[-2], width - picture.shape[-1]
    # negative padding crops
    pads = [across // 2, across - across // 2, down // 2, down - down // 2]
    return F.pad(picture, pads)


def flatten(picture: Tensor, background: Rgb | None, keep_alpha: bool) -> Tensor:
    """Straight alpha `[B, 4, H, W]` over a background; `keep_alpha` leaves it unless one is given.

    With `keep_alpha` the result has four channels, else three.
    """
    if keep_alpha and background is None:
        return picture
    behind = torch.tensor(background or WHITE, device=picture.device).view(1, 3, 1, 1) / 255
    opaque = picture[:, :3] * picture[:, 3:] + behind * (1 - picture[:, 3:])
    return torch.cat([opaque, torch.ones_like(opaque[:, :1])], 1) if keep_alpha else opaque


def mix(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """`a` where `share` `[., 1, H, W]` is 0, `b` where it is 1, between them a fade of light.

    Both have three channels, or four with straight alpha, whose colours fade as they are seen.
    """
    if a.shape[1] == 3:
        return a * (1 - share) + b * share
    from_a, from_b = a[:, 3:] * (1 - share), b[:, 3:] * share
    alpha = from_a + from_b
    # where nothing is seen colours fade too, so that a colour still has a gradient there
    seen = alpha > 1e-6
    part = torch.where(seen, from_b / torch.where(seen, alpha, torch.ones_like(alpha)), share)
    return torch.cat([a[:, :3] * (1 - part) + b[:, :3] * part, alpha], 1)


def lie_over(top: Tensor, below: Tensor) -> Tensor:
    """Straight alpha `[1, 4, H, W]` over a picture of three or four channels, which it keeps."""
    cover = top[:, 3:]
    if below.shape[1] == 3:
        return below * (1 - cover) + top[:, :3] * cover
    alpha = cover + below[:, 3:] * (1 - cover)
    part = torch.where(alpha > 1e-6, cover / alpha.clamp(min=1e-6), torch.zeros_like(alpha))
    return torch.cat([below[:, :3] * (1 - part) + top[:, :3] * part, alpha], 1)


def add_noise(picture: Tensor, deviation: float, rng: torch.Generator) -> Tensor:
    """The picture with noise of equal strength at each scale, from the whole picture to a pixel."""
    height, width = picture.shape[-2:]
    octaves = max(1, math.ceil(math.log2(max(height, width))))
    noise = torch.zeros(1, 3, height, width)
    for octave in range(octaves):
        sides = [max(1, math.ceil(side / 2**octave)) for side in (height, width)]
        grain = torch.randn(1, 3, *sides, generator=rng)
        noise += F.interpolate(grain, (height, width), mode="bilinear", align_corners=False)
    noise = (noise / noise.std()).to(picture.device) * deviation
    return torch.cat([(picture[:, :3] + noise).clamp(0, 1), picture[:, 3:]], 1)
