"""Augmentations of crops: `jitter`, `noise`, `erase` and `blur`, built on kornia.

All random numbers come from the generator that is passed in. kornia's own random classes are not
used, because they draw from torch's global state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pixweave import Component, Field, hookimpl

if TYPE_CHECKING:
    from torch import Generator as Rng
    from torch import Tensor

    from pixweave import Moment
    from pixweave.component import BuildContext


class Jitter(Component):
    """Randomly change brightness, contrast, saturation and hue of each crop (colour jitter)."""

    hue: float = Field(0.05, ge=0, le=0.5, description="maximum hue rotation, +- in turns")
    saturation: float = Field(0.1, ge=0, le=1, description="saturation factor is 1 +- this")
    brightness: float = Field(0.0, ge=0, le=1, description="maximum brightness shift, +-")
    contrast: float = Field(0.0, ge=0, le=1, description="contrast factor is 1 +- this")
    chance: float = Field(0.8, ge=0, le=1, description="probability of changing a crop")

    def build(self, run: BuildContext) -> Any:
        """The augmentation: a function of crops `[N, 3, S, S]` and a random generator."""
        if self.contrast or self.brightness:
            from kornia import enhance  # a third of a second that hue and saturation do not need

        def augment(crops: Tensor, rng: Rng, moment: Moment) -> Tensor:
            chosen = _chosen(crops, self.chance, rng)

            def factor(amount: float) -> Tensor:
                return amount * chosen * (2 * _uniform(crops, rng) - 1)

            hue, saturation, brightness, contrast = (
                factor(a) for a in (self.hue, self.saturation, self.brightness, self.contrast)
            )
            if self.hue or self.saturation:
                crops = _rotate_hue(crops, hue, 1 + saturation)
            if self.contrast:
                crops = enhance.adjust_contrast_with_mean_subtraction(crops, 1 + contrast)
            if self.brightness:
                crops = enhance.adjust_brightness(crops, brightness)
            return crops

        return augment


class Noise(Component):
    """Add Gaussian noise of random strength to each crop; it counters adversarial texture."""

    amount: float = Field(0.1, ge=0, le=1, description="maximum standard deviation")

    def build(self, run: BuildContext) -> Any:
        """The augmentation: a function of crops `[N, 3, S, S]` and a random generator."""
        import torch

        def augment(crops: Tensor, rng: Rng, moment: Moment) -> Tensor:
            strength = self.amount * _uniform(crops, rng).view(-1, 1, 1, 1)
            noise = torch.randn(crops.shape, generator=rng).to(crops)
            return torch.addcmul(crops, noise, strength)

        return augment


class Erase(Component):
    """Paint a random rectangle of each crop grey (random erasing, Zhong et al. 2017).

    It keeps a single detail from deciding the loss.
    """

    area: tuple[float, float] = Field(
        (0.02, 0.2), description="minimum and maximum share of the crop's area"
    )
    ratio: tuple[float, float] = Field(
        (0.4, 2.5), description="minimum and maximum width-to-height ratio"
    )
    chance: float = Field(0.5, ge=0, le=1, description="probability of changing a crop")

    def build(self, run: BuildContext) -> Any:
        """The augmentation: a function of crops `[N, 3, S, S]` and a random generator."""
        from kornia.geometry.bbox import bbox_generator, bbox_to_mask

        def augment(crops: Tensor, rng: Rng, moment: Moment) -> Tensor:
            side = crops.shape[-1]
            low, high = self.area
            area = (low + (high - low) * _uniform(crops, rng)) * side**2
            least, most = self.ratio
            ratio = least * (most / least) ** _uniform(crops, rng)
            wide, high_ = ((area * r).sqrt().clamp(1, side - 1) for r in (ratio, 1 / ratio))
            left, top = ((side - n) * _uniform(crops, rng) for n in (wide, high_))
            boxes = bbox_generator(left.floor(), top.floor(), wide.round(), high_.round())
            mask = bbox_to_mask(boxes, side, side) * _chosen(crops, self.chance, rng).view(-1, 1, 1)
            grey = _uniform(crops, rng).view(-1, 1, 1, 1)
            return crops.lerp(grey.expand_as(crops), mask[:, None].expand_as(crops))

        return augment


class Blur(Component):
    """Blur each crop with a Gaussian of random width, so that fine detail alone is not enough."""

    sigma: tuple[float, float] = Field(
        (0.1, 1.5), description="minimum and maximum standard deviation, in pixels of the crop"
    )
    chance: float = Field(0.5, ge=0, le=1, description="probability of changing a crop")

    def build(self, run: BuildContext) -> Any:
        """The augmentation: a function of crops `[N, 3, S, S]` and a random generator."""
        import torch
        from kornia.filters import gaussian_blur2d

        low, high = self.sigma
        kernel = 2 * max(1, round(2.5 * high)) + 1

        def augment(crops: Tensor, rng: Rng, moment: Moment) -> Tensor:
            sigma = low + (high - low) * _uniform(crops, rng)
            chosen = _chosen(crops, self.chance, rng).bool().view(-1, 1, 1, 1)
            blurred = gaussian_blur2d(crops, (kernel, kernel), torch.stack([sigma, sigma], 1))
            return torch.where(chosen, blurred, crops)

        return augment


def _uniform(crops: Tensor, rng: Rng) -> Tensor:
    """One random number in 0..1 per crop, `[N]`."""
    import torch

    return torch.rand(len(crops), generator=rng).to(crops.device)


def _chosen(crops: Tensor, chance: float, rng: Rng) -> Tensor:
    return (_uniform(crops, rng) < chance).float()


def _rotate_hue(crops: Tensor, turns: Tensor, saturation: Tensor) -> Tensor:
    """Rotate hue and scale saturation about the grey axis, as one 3x3 colour matrix per crop.

    Unlike a conversion to HSV and back it is linear in the pixels: a tenth of the time, no
    clamping, and a continuous gradient across hue sectors.
    """
    import math

    import torch

    angle = 2 * math.pi * turns
    # Rodrigues' formula about (1, 1, 1) / sqrt(3): each row is the previous one, shifted by one
    mean, sine = (1 - angle.cos()) / 3, angle.sin() / math.sqrt(3)
    row = torch.stack([mean + angle.cos(), mean - sine, mean + sine], 1)
    matrix = torch.stack([row, row.roll(1, 1), row.roll(2, 1)], 1)
    grey = torch.full_like(matrix, 1 / 3)
    matrix = grey + saturation.view(-1, 1, 1) * (matrix - grey)
    return torch.einsum("nij,njhw->nihw", matrix, crops)


@hookimpl
def register_augmentations() -> dict[str, type[Component]]:
    """Register the four augmentations."""
    return {"jitter": Jitter, "noise": Noise, "erase": Erase, "blur": Blur}
