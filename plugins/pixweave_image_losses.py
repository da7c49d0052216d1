"""Losses on the pixels: `smoothness`, `saturation`, `palette`, `coverage`, `symmetry`.

They are computed on the clean image, never on crops, so that they measure what is saved.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pixweave import Component, Field, Issue, hookimpl, over_time
from pixweave.media.palettes import Palette
from pixweave.recipe import Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from pixweave.component import BuildContext, RecipeInfo
    from pixweave.protocols import View


class Smoothness(Component):
    """Penalise differences between neighbouring pixels: total variation at a given scale.

    Mean absolute difference of neighbours (Rudin, Osher and Fatemi 1992), times the side of the
    image, so that its size matters little; `even` squares the differences, which blurs edges too.
    """

    kind: Literal["edges", "even"] = Field(
        "even", description="even: soft transitions; edges: flat areas with sharp edges"
    )
    grid: int = Field(
        64,
        ge=8,
        le=4096,
        description="long side in pixels to which larger images are reduced first",
    )

    def build(self, run: BuildContext) -> Any:
        """The loss: a function of the view, returning a scalar."""
        import torch.nn.functional as F

        def loss(view: View) -> Tensor:
            image = view.image
            longest = max(image.shape[-2:])
            if longest > self.grid:
                shape = [max(2, round(n * self.grid / longest)) for n in image.shape[-2:]]
                image = F.interpolate(image, shape, mode="area")
            across, down = image.diff(dim=3), image.diff(dim=2)
            if self.kind == "even":
                return (across**2).mean() * self.grid + (down**2).mean() * self.grid
            # 1e-6 keeps the gradient of the square root finite where neighbours are equal
            steps = (across[..., :-1, :] ** 2 + down[..., :, :-1] ** 2 + 1e-6).sqrt()
            return steps.mean() * self.grid / 8

        return loss


class Saturation(Component):
    """Bring the colourfulness of the image to `amount`.

    Hasler and Suesstrunk's measure (2003) on 0..1 values: about 0.1 is muted, 0.3 vivid, 0.6 neon.
    """

    amount: Value = over_time(0.35, ge=0, le=1, description="target colourfulness")

    def build(self, run: BuildContext) -> Any:
        """The loss: a function of the view, returning a scalar."""

        def loss(view: View) -> Tensor:
            red, green, blue = view.image.unbind(1)
            first, second = red - green, (red + green) / 2 - blue
            spread = (_variance(first) + _variance(second) + 1e-8).sqrt()
            offset = (_mean(first) ** 2 + _mean(second) ** 2 + 1e-8).sqrt()
            return (spread + 0.3 * offset - self.amount.at(view.moment)).abs().mean()

        return loss


class PaletteLoss(Component):
    """Pull every pixel towards the nearest colour of a palette, without forcing it.

    The mean distance in RGB (0..1) to the nearest colour. To use only the palette's colours, set
    the generator's palette instead.
    """

    example: ClassVar[Mapping[str, Any]] = {"colors": "pico-8"}

    colors: Palette = Field(
        description="a palette name, a .gpl, .hex or image file, or a list of colours"
    )

    def build(self, run: BuildContext) -> Any:
        """The loss: a function of the view, returning a scalar."""
        import torch

        colours = torch.tensor(self.colors, device=run.device).float() / 255

        def loss(view: View) -> Tensor:
            pixels = view.image.flatten(2).transpose(1, 2)
            nearest = colours[torch.cdist(pixels.detach(), colours).argmin(2)]
            return ((pixels - nearest) ** 2).sum(2).add(1e-8).sqrt().mean()

        return loss


class Coverage(Component):
    """Bring the opaque part of the image to `amount`, to leave room around a sprite."""

    amount: Value = over_time(
        0.4, ge=0, le=1, description="target for the opaque part of the image"
    )

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """The generator must make transparency."""
        if not getattr(recipe.generator.settings, "alpha", False):
            message = f"generator '{recipe.generator.use}' makes no transparency here"
            yield Issue("use", message, "set generator.alpha to true, or remove this loss")

    def build(self, run: BuildContext) -> Any:
        """The loss: a function of the view, returning a scalar."""

        def loss(view: View) -> Tensor:
            return (view.raw[:, 3:].mean() - self.amount.at(view.moment)).abs()

        return loss


class Symmetry(Component):
    """Make the image equal to its mirror image: mean squared difference."""

    axis: Literal["x", "y", "both", "diagonal"] = Field(
        "x",
        description="x: mirror left and right; y: mirror top and bottom; both: x and y; diagonal: "
        "swap x and y (square images only)",
    )

    def build(self, run: BuildContext) -> Any:
        """The loss: a function of the view, returning a scalar."""

        def loss(view: View) -> Tensor:
            image = view.image
            mirrors = {
                "x": [image.flip(3)],
                "y": [image.flip(2)],
                "both": [image.flip(3), image.flip(2)],
                "diagonal": [image.transpose(2, 3)],
            }[self.axis]
            return sum(((image - mirror) ** 2).mean() for mirror in mirrors)  # type: ignore[return-value]

        return loss


def _mean(values: Tensor) -> Tensor:
    return values.flatten(1).mean(1)


def _variance(values: Tensor) -> Tensor:
    return values.flatten(1).var(1, correction=0)


@hookimpl
def register_losses() -> dict[str, type[Component]]:
    """Register the five losses."""
    return {
        "smoothness": Smoothness,
        "saturation": Saturation,
        "palette": PaletteLoss,
        "coverage": Coverage,
        "symmetry": Symmetry,
    }
