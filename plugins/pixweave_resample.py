"""Filters that give the picture another size: `crisp` and `lanczos`."""

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
"""What picture files may have, so that others can read them."""


class _Enlarge(Component):
    """What both share."""

    can: ClassVar[frozenset[str]] = frozenset({"stateless"})

    scale: float = Field(
        2.0, gt=0, le=16, description="how much larger it gets; below 1 it shrinks"
    )

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The sides times `scale`, whole, at least a pixel."""
        width, height = (max(1, round(side * self.scale)) for side in size)
        return width, height

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """The picture must stay of a size that files can have."""
        width, height = recipe.shown_size
        if width * height > MOST_PIXELS:
            yield Issue("scale", f"{width}x{height} pixels are too many", "set a smaller scale")


class Crisp(_Enlarge):
    """Show every pixel as a square of `scale` x `scale`: no new colours, no blur."""

    scale: int = Field(2, ge=1, le=64, description="side of the squares in pixels")

    def build(self, run: BuildContext) -> Any:
        """A function of the picture."""

        def enlarge(image: Tensor, moment: Moment) -> Tensor:
            return image.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)

        return enlarge


class Lanczos(_Enlarge):
    """Resample the picture with a windowed sinc of three lobes: smooth, and sharp for its size.

    A reduction widens the window, so that fine detail averages out instead of aliasing. Transparent
    pixels lend no colour to their neighbours (Lanczos resampling, Duchon 1979; alpha as in Pillow).
    """

    def build(self, run: BuildContext) -> Any:
        """A function of the picture."""
        import torch

        def resample(image: Tensor, moment: Moment) -> Tensor:
            height, width = image.shape[-2:]
            wide, high = self.output_size((width, height))
            across, down = weights(width, wide).to(image), weights(height, high).to(image)
            if image.shape[1] == 3:
                return (down @ image @ across.T).clamp(0, 1)
            colours, alpha = image[:, :3], image[:, 3:]
            there = (down @ alpha @ across.T).clamp(0, 1)
            shown = down @ (colours * alpha) @ across.T / there.clamp(min=1 / 512)
            return torch.cat([shown.clamp(0, 1), there], 1)

        return resample


def weights(before: int, after: int) -> torch.Tensor:
    """The matrix `[after, before]` that resamples a line of pixels; each row sums to 1."""
    import torch

    step = before / after
    stretch = max(step, 1.0)
    centres = (torch.arange(after, dtype=torch.float64) + 0.5) * step - 0.5
    away = (torch.arange(before, dtype=torch.float64) - centres[:, None]) / stretch
    kernel = torch.sinc(away) * torch.sinc(away / LOBES) * (away.abs() < LOBES)
    return kernel / kernel.sum(1, keepdim=True)


@hookimpl
def register_filters() -> dict[str, type[Component]]:
    """Offer `crisp` and `lanczos`."""
    return {"crisp": Crisp, "lanczos": Lanczos}
