"""Filters that resize the image: `crisp` (nearest neighbour) and `lanczos`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pixweave import Component, Field, Issue, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch
    from torch import Tensor

    from pixweave import BuildContext, Moment, RecipeInfo

LOBES = 3
MOST_PIXELS = 64_000_000
"""Maximum number of pixels, so that other programs can read the files."""


class _Enlarge(Component):
    """Common settings of both filters."""

    can: ClassVar[frozenset[str]] = frozenset({"stateless"})

    scale: float = Field(
        2.0, gt=0, le=16, description="scale factor; below 1 the image gets smaller"
    )

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The sides times `scale`, rounded, at least one pixel."""
        width, height = (max(1, round(side * self.scale)) for side in size)
        return width, height

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """The enlarged image must not have too many pixels."""
        width, height = recipe.shown_size
        if width * height > MOST_PIXELS:
            yield Issue("scale", f"{width}x{height} pixels are too many", "set a smaller scale")


class Crisp(_Enlarge):
    """Enlarge every pixel to a square of `scale` x `scale`: no new colours, no blur."""

    scale: int = Field(2, ge=1, le=64, description="side of the squares in pixels")

    def build(self, run: BuildContext) -> Any:
        """The filter: a function of an image `[B, C, H, W]` and the moment."""

        def enlarge(image: Tensor, moment: Moment) -> Tensor:
            return image.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)

        return enlarge


class Lanczos(_Enlarge):
    """Resize the image with a Lanczos filter of three lobes: smooth and sharp.

    A reduction widens the filter, so that fine detail is averaged instead of aliased. Transparent
    pixels do not affect the colour of their neighbours (Duchon 1979; alpha as in Pillow).
    """

    def build(self, run: BuildContext) -> Any:
        """The filter: a function of an image `[B, C, H, W]` and the moment."""
        import torch

        def resample(image: Tensor, moment: Moment) -> Tensor:
            height, width = image.shape[-2:]
            wide, high = self.output_size((width, height))
            across, down = weights(width, wide).to(image), weights(height, high).to(image)
            if image.shape[1] == 3:
                return (down @ image @ across.T).clamp(0, 1)
            colours, alpha = image[:, :3], image[:, 3:]
            new_alpha = (down @ alpha @ across.T).clamp(0, 1)
            colours = down @ (colours * alpha) @ across.T / new_alpha.clamp(min=1 / 512)
            return torch.cat([colours.clamp(0, 1), new_alpha], 1)

        return resample


def weights(before: int, after: int) -> torch.Tensor:
    """The matrix `[after, before]` that resamples a row of pixels; each of its rows sums to 1."""
    import torch

    step = before / after
    stretch = max(step, 1.0)
    centres = (torch.arange(after, dtype=torch.float64) + 0.5) * step - 0.5
    offsets = (torch.arange(before, dtype=torch.float64) - centres[:, None]) / stretch
    kernel = torch.sinc(offsets) * torch.sinc(offsets / LOBES) * (offsets.abs() < LOBES)
    return kernel / kernel.sum(1, keepdim=True)


@hookimpl
def register_filters() -> dict[str, type[Component]]:
    """Register `crisp` and `lanczos`."""
    return {"crisp": Crisp, "lanczos": Lanczos}
