"""Place, resize, flatten, mix and blend images with alpha, as float32 tensors in 0..1."""

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
    image: Tensor, size: tuple[int, int], fit: Fit = "cover", resample: Resample = "smooth"
) -> Tensor:
    """An image `[1, 3 or 4, h, w]` placed on a canvas of `size` (width, height).

    The result has straight alpha, `[1, 4, H, W]`; uncovered areas are transparent. An image of
    exactly that size is not resampled.
    """
    if image.shape[1] == 3:
        image = torch.cat([image, torch.ones_like(image[:, :1])], 1)
    (width, height), (high, wide) = size, image.shape[-2:]
    if fit in ("cover", "contain", "stretch"):
        scales = width / wide, height / high
        if fit != "stretch":
            scales = (max(scales) if fit == "cover" else min(scales),) * 2
        sides = (max(1, round(high * scales[1])), max(1, round(wide * scales[0])))
        image = resize(image, sides, resample)
    elif fit == "tile":
        across, down = math.ceil(width / wide), math.ceil(height / high)
        image = image.repeat(1, 1, down, across)[..., :height, :width]
    return _centred(image, height, width)


def resize(image: Tensor, sides: tuple[int, int], resample: Resample = "smooth") -> Tensor:
    """An image with straight alpha `[B, 4, h, w]`, resized to `sides` (height, width).

    The colours of transparent pixels do not bleed into others.
    """
    if tuple(image.shape[-2:]) == sides:
        return image
    colour, alpha = image[:, :3], image[:, 3:]
    whole = torch.cat([colour * alpha, alpha], 1)
    if resample == "crisp":
        whole = F.interpolate(whole, sides, mode="nearest-exact")
    else:
        whole = F.interpolate(whole, sides, mode="bicubic", antialias=True).clamp(0, 1)
    if bool((alpha == 1).all()):  # exactly opaque, despite rounding in the filter
        return torch.cat([whole[:, :3], torch.ones_like(whole[:, :1])], 1)
    alpha = whole[:, 3:]
    return torch.cat([(whole[:, :3] / alpha.clamp(min=1e-6)).clamp(0, 1), alpha], 1)


def _centred(image: Tensor, height: int, width: int) -> Tensor:
    """The centre of the image, with transparent bars where it is too small."""
    down, across = height - image.shape[-2], width - image.shape[-1]
    # negative padding crops
    pads = [across // 2, across - across // 2, down // 2, down - down // 2]
    return F.pad(image, pads)


def flatten(image: Tensor, background: Rgb | None, keep_alpha: bool) -> Tensor:
    """An image with straight alpha `[B, 4, H, W]`, composited over a background (default: white).

    With `keep_alpha` the result has four channels, else three; with `keep_alpha` and no background
    the image is returned unchanged.
    """
    if keep_alpha and background is None:
        return image
    behind = torch.tensor(background or WHITE, device=image.device).view(1, 3, 1, 1) / 255
    opaque = image[:, :3] * image[:, 3:] + behind * (1 - image[:, 3:])
    return torch.cat([opaque, torch.ones_like(opaque[:, :1])], 1) if keep_alpha else opaque


def mix(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """`a` where `share` `[., 1, H, W]` is 0, `b` where it is 1, a linear blend in between.

    Both have three channels, or four with straight alpha; then colours are weighted by alpha.
    """
    if a.shape[1] == 3:
        return a * (1 - share) + b * share
    from_a, from_b = a[:, 3:] * (1 - share), b[:, 3:] * share
    alpha = from_a + from_b
    # blend the colours of transparent pixels too, so that they still get a gradient
    visible = alpha > 1e-6
    part = torch.where(visible, from_b / torch.where(visible, alpha, torch.ones_like(alpha)), share)
    return torch.cat([a[:, :3] * (1 - part) + b[:, :3] * part, alpha], 1)


def lie_over(top: Tensor, below: Tensor) -> Tensor:
    """`top` with straight alpha `[1, 4, H, W]` over `below`, whose 3 or 4 channels are kept."""
    cover = top[:, 3:]
    if below.shape[1] == 3:
        return below * (1 - cover) + top[:, :3] * cover
    alpha = cover + below[:, 3:] * (1 - cover)
    part = torch.where(alpha > 1e-6, cover / alpha.clamp(min=1e-6), torch.zeros_like(alpha))
    return torch.cat([below[:, :3] * (1 - part) + top[:, :3] * part, alpha], 1)


def add_noise(image: Tensor, deviation: float, rng: torch.Generator) -> Tensor:
    """The image plus noise of equal strength at each scale, from the whole image to a pixel.

    `deviation` is the standard deviation of the noise; the result is clamped to 0..1.
    """
    height, width = image.shape[-2:]
    octaves = max(1, math.ceil(math.log2(max(height, width))))
    noise = torch.zeros(1, 3, height, width)
    for octave in range(octaves):
        sides = [max(1, math.ceil(side / 2**octave)) for side in (height, width)]
        grain = torch.randn(1, 3, *sides, generator=rng)
        noise += F.interpolate(grain, (height, width), mode="bilinear", align_corners=False)
    noise = (noise / noise.std()).to(image.device) * deviation
    return torch.cat([(image[:, :3] + noise).clamp(0, 1), image[:, 3:]], 1)
