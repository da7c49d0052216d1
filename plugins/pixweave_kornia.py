"""Augmentations of crops: `jitter`, `noise`, `erase` and `blur`, on kornia.

Every random number comes from the stream that the host passes in; kornia's functions get their
factors from it, and its own random classes, which draw from torch's global state, are not used.
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
    """Change brightness, contrast, saturation and hue of each crop a little."""

    hue: float = Field(0.05, ge=0, le=0.5, description="turn of the hue, in turns, up to +-")
    saturation: float = Field(0.1, ge=0, le=1, description="saturation factor is 1 +- this")
    brightness: float = Field(0.0, ge=0, le=1, description="brightness is shifted by up to +- this")
    contrast: float = Field(0.0, ge=0, le=1, description="contrast factor is 1 +- this")
    chance: float = Field(0.8, ge=0, le=1, description="probability that a crop is changed")

    def build(self, run: BuildContext) -> Any:
        """A function of crops and a random stream."""
        if self.contrast or self.brightness:
            from kornia import enhance  # a third of a second, which hue and saturation need not

        def augment(crops: Tensor, rng: Rng, moment: Moment) -> Tensor:
            drawn = _chosen(crops, self.chance, rng)

            def factor(amount: float) -> Tensor:
                return amount * drawn * (2 * _uniform(crops, rng) - 1)

            hue, saturation, brightness, contrast = (
                factor(a) for a in (self.hue, self.saturation, self.brightness, self.contrast)
            )
            if self.hue or self.saturation:
                crops = _turn_hue(crops, hue, 1 + saturation)
            if self.contrast:
                crops = enhance.adjust_contrast_with_mean_subtraction(crops, 1 + contrast)
            if self.brightness:
                crops = enhance.adjust_brightness(crops, brightness)
            return crops

        return augment


class Noise(Component):
    """Add Gaussian noise of a strength drawn for each crop; a guard against adversarial texture."""

    amount: float = Field(0.1, ge=0, le=1, description="largest standard deviation")

    def build(self, run: BuildContext) -> Any:
        """A function of crops and a random stream."""
        import torch

        def augment(crops: Tensor, rng: Rng, moment: Moment) -> Tensor:
            strength = self.amount * _uniform(crops, rng).view(-1, 1, 1, 1)
            noise = torch.randn(crops.shape, generator=rng).to(crops)
            return torch.addcmul(crops, noise, strength)

        return augment


class Erase(Component):
    """Paint a random rectangle of each crop grey (Zhong et al. 2017), so that no spot decides."""

    area: tuple[float, float] = Field((0.02, 0.2), description="part of the crop, least and most")
    ratio: tuple[float, float] = Field((0.4, 2.5), description="width over height, least and most")
    chance: float = Field(0.5, ge=0, le=1, description="probability that a crop is changed")

    def build(self, run: BuildContext) -> Any:
        """A function of crops and a random stream."""
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
    """Blur each crop by a Gaussian of random width, so that details alone cannot satisfy."""

    sigma: tuple[float, float] = Field(
        (0.1, 1.5), description="standard deviation in pixels of the crop, least and most"
    )
    chance: float = Field(0.5, ge=0, le=1, description="probability that a crop is changed")

    def build(self, run: BuildContext) -> Any:
        """A function of crops and a random stream."""
        import torch
        from kornia.filters import gaussian_blur2d

        low, high = self.sigma
        reach = 2 * max(1, round(2.5 * high)) + 1

        def augment(crops: Tensor, rng: Rng, moment: Moment) -> Tensor:
            sigma = low + (high - low) * _uniform(crops, rng)
            drawn = _chosen(crops, self.chance, rng).bool().view(-1, 1, 1, 1)
            blurred = gaussian_blur2d(crops, (reach, reach), torch.stack([sigma, sigma], 1))
            return torch.where(drawn, blurred, crops)

        return augment


def _uniform(crops: Tensor, rng: Rng) -> Tensor:
    """One number in 0..1 for each crop."""
    import torch

    return torch.rand(len(crops), generator=rng).to(crops.device)


def _chosen(crops: Tensor, chance: float, rng: Rng) -> Tensor:
    return (_uniform(crops, rng) < chance).float()


def _turn_hue(crops: Tensor, turns: Tensor, saturation: Tensor) -> Tensor:
    """Turn hue and scale saturation about the grey axis, as one 3x3 colour matrix per crop.

    Linear in the pixels, unlike the way through HSV and back: a tenth of the time, no clamping,
    and a gradient without jumps at hue sectors.
    """
    import math

    import torch

    angle = 2 * math.pi * turns
    # Rodrigues' formula about (1, 1, 1) / sqrt(3): each row is the one above it, moved on by one
    mean, sine = (1 - angle.cos()) / 3, angle.sin() / math.sqrt(3)
    row = torch.stack([mean + angle.cos(), mean - sine, mean + sine], 1)
    matrix = torch.stack([row, row.roll(1, 1), row.roll(2, 1)], 1)
    grey = torch.full_like(matrix, 1 / 3)
    matrix = grey + saturation.view(-1, 1, 1) * (matrix - grey)
    return torch.einsum("nij,njhw->nihw", matrix, crops)


@hookimpl
def register_augmentations() -> dict[str, type[Component]]:
    """Offer the four."""
    return {"jitter": Jitter, "noise": Noise, "erase": Erase, "blur": Blur}
