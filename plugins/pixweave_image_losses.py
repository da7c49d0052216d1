"""Losses on the picture itself: `smoothness`, `saturation`, `palette`, `coverage`, `symmetry`.

They look at the clean picture, never at crops, so that what they measure is what is saved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pixweave import Component, Field, Issue, hookimpl, over_time
from pixweave.media.palettes import Palette
from pixweave.recipe import Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from pixweave.component import BuildContext, RecipeInfo
    from pixweave.protocols import View


class Smoothness(Component):
    """Make neighbouring pixels alike: total variation of the picture at a given scale.

    Mean absolute difference of neighbours (Rudin, Osher and Fatemi 1992), times the side of the
    picture, so that its size matters little; `even` squares the differences, which spares no edge.
    """

    kind: Literal["edges", "even"] = Field(
        "even", description="even: soft transitions; edges: flat areas with sharp edges"
    )
    grid: int = Field(
        64,
        ge=8,
        le=4096,
        description="long side in pixels to which the picture is shrunk first, if it is larger",
    )

    def build(self, run: BuildContext) -> Any:
        """A function of the view."""
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
            # the square root of a small sum: a gradient without a jump where nothing changes
            steps = (across[..., :-1, :] ** 2 + down[..., :, :-1] ** 2 + 1e-6).sqrt()
            return steps.mean() * self.grid / 8

        return loss


class Saturation(Component):
    """Bring the colourfulness of the picture to `amount`.

    Hasler and Suesstrunk's measure (2003) on 0..1 values: about 0.1 is muted, 0.3 vivid, 0.6 neon.
    """

    amount: Value = over_time(0.35, ge=0, le=1, description="how colourful is colourful enough")

    def build(self, run: BuildContext) -> Any:
        """A function of the view."""

        def loss(view: View) -> Tensor:
            red, green, blue = view.image.unbind(1)
            first, second = red - green, (red + green) / 2 - blue
            spread = (_variance(first) + _variance(second) + 1e-8).sqrt()
            offset = (_mean(first) ** 2 + _mean(second) ** 2 + 1e-8).sqrt()
            return (spread + 0.3 * offset - self.amount.at(view.moment)).abs().mean()

        return loss


class PaletteLoss(Component):
    """Draw every pixel towards the nearest colour of a palette, without forcing it.

    The mean distance in RGB (0..1) to the nearest colour. To use nothing but the palette, give the
    generator one instead.
    """

    colors: Palette = Field(description="a named set, a .gpl, .hex or picture file, or a list")

    def build(self, run: BuildContext) -> Any:
        """A function of the view."""
        import torch

        colours = torch.tensor(self.colors, device=run.device).float() / 255

        def loss(view: View) -> Tensor:
            pixels = view.image.flatten(2).transpose(1, 2)
            nearest = colours[torch.cdist(pixels.detach(), colours).argmin(2)]
            return ((pixels - nearest) ** 2).sum(2).add(1e-8).sqrt().mean()

        return loss


class Coverage(Component):
    """Bring the opaque part of a picture with transparency to `amount`: room around a sprite."""

    amount: Value = over_time(0.4, ge=0, le=1, description="opaque part of the picture")

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """Only a picture with transparency can have less of it."""
        if not getattr(recipe.generator.settings, "alpha", False):
            message = f"generator '{recipe.generator.use}' makes no transparency here"
            yield Issue("use", message, "set generator.alpha to true, or leave this loss out")

    def build(self, run: BuildContext) -> Any:
        """A function of the view."""

        def loss(view: View) -> Tensor:
            return (view.raw[:, 3:].mean() - self.amount.at(view.moment)).abs()

        return loss


class Symmetry(Component):
    """Make the picture equal to its mirror image: mean squared difference."""

    axis: Literal["x", "y", "both", "diagonal"] = Field(
        "x",
        description="x: left and right alike; y: top and bottom; diagonal: square pictures only",
    )

    def build(self, run: BuildContext) -> Any:
        """A function of the view."""

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
    """Offer the five."""
    return {
        "smoothness": Smoothness,
        "saturation": Saturation,
        "palette": PaletteLoss,
        "coverage": Coverage,
        "symmetry": Symmetry,
    }
