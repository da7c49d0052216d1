"""The canvas: where the generator's picture meets the pictures that the recipe brings along."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from pixweave.errors import RunError
from pixweave.media.images import from_file

if TYPE_CHECKING:
    from pixweave.engine.run import Run
    from pixweave.media.palettes import Rgb
    from pixweave.recipe.image_inputs import Fit, Mask, Resample, StartFrom

WHITE = (255, 255, 255)


class Canvas:
    """The start, the mask and the overlay of a run; sets the generator to the start.

    `start` is the picture that the recipe starts from as it lies on the canvas, without noise:
    `[1, 3, H, W]`, or `[1, 4, H, W]` where the generator has alpha; None if there is none.
    """

    def __init__(self, run: Run) -> None:
        self.run, recipe = run, run.recipe
        self.start: Tensor | None = None
        self.region = recipe.mask.region(run) if recipe.mask else None
        self._overlay: Tensor | None = None
        if recipe.start_from is not None:
            self._begin(recipe.start_from)
        if recipe.overlay is not None:
            self._overlay = recipe.overlay.picture(run)
            if recipe.overlay.mask is not None:
                self._overlay[:, 3:] *= recipe.overlay.mask.region(run).mask

    def picture(self) -> Tensor:
        """The generator's picture; outside of the recipe's mask, exactly the start."""
        return self.masked(self.run.generator.image())

    def masked(self, image: Tensor) -> Tensor:
        """A picture of the generator; outside of the recipe's mask, exactly the start."""
        if self.region is None or self.start is None:
            return image
        mask = self.region.mask
        return torch.where(mask > 0, mix(self.start, image, mask), self.start)

    def overlay(self, step: int) -> None:
        """Blend the overlay over the picture, if it is due at this step."""
        settings, moment = self.run.recipe.overlay, self.run.recipe.moment(step)
        if settings is None or self._overlay is None or not settings.due(moment):
            return
        opacity = settings.alpha.at(moment)
        if not opacity:
            return
        with self.run.blame(self.run.recipe.generator):
            with torch.no_grad():
                below = self.run.generator.image()
                top = torch.cat([self._overlay[:, :3], self._overlay[:, 3:] * opacity], 1)
                blend = lie_over(top, below)
            self.run.generator.start_from(blend)

    def _begin(self, settings: StartFrom) -> None:
        run = self.run
        laid = settings.picture(run)
        with run.blame(run.recipe.generator):
            with torch.no_grad():
                own = run.generator.image()
                self.start = flatten(laid, settings.background, keep_alpha=own.shape[1] == 4)
                start = self.start
                if settings.noise:
                    start = add_noise(start, settings.noise, run.rng("start/noise"))
                if settings.alpha < 1:
                    start = mix(own, start, torch.full_like(own[:, :1], settings.alpha))
            run.generator.start_from(start)


@dataclass(frozen=True, eq=False)
class Region:
    """A mask `[1, 1, H, W]`, 1 inside and 0 outside, and the `box` in which it is not 0.

    `box` is left, top, right and bottom in pixels; `name` is the same for the same mask.
    """

    mask: Tensor
    box: tuple[int, int, int, int]

    @cached_property
    def name(self) -> str:
        """A short text that tells this mask from others, for random streams."""
        raw = (self.mask * 255).round().byte().cpu().numpy()
        return hashlib.blake2b(raw.tobytes(), digest_size=6).hexdigest()

    def fitted(self, height: int, width: int) -> Region:
        """The same region of a picture of another size."""
        if self.mask.shape[-2:] == (height, width):
            return self
        return region_of(F.interpolate(self.mask, (height, width), mode="nearest"))

    def grown(self, share: float) -> tuple[int, int, int, int]:
        """The box, wider by that share of its sides on each side, within the picture."""
        height, width = self.mask.shape[-2:]
        left, top, right, bottom = self.box
        across, down = (round(share * side) for side in (right - left, bottom - top))
        return (max(0, left - across), max(0, top - down),
                min(width, right + across), min(height, bottom + down))  # fmt: skip


def region_of(mask: Tensor) -> Region:
    """The region of a mask that is not 0 everywhere."""
    inside = mask[0, 0] > 0
    rows, columns = inside.any(1).nonzero().flatten(), inside.any(0).nonzero().flatten()
    left, right, top, bottom = (int(end) for side in (columns, rows) for end in (side[0], side[-1]))
    return Region(mask, (left, top, right + 1, bottom + 1))


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
    mask[..., round(top * height) : round(bottom * height),
         round(left * width) : round(right * width)] = 1  # fmt: skip
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
    laid = lay(torch.cat([mask.expand(-1, 3, -1, -1), torch.ones_like(mask)], 1), size,
               settings.fit or "cover")  # fmt: skip
    return laid[:, :1] * laid[:, 3:]


# ------------------------------------------------------------------------------- laying and mixing


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
