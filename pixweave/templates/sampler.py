"""Sampler `example`: an image in the colours that the prompts name, without optimisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pixweave import Component, Field, hookimpl

if TYPE_CHECKING:
    from torch import Generator as Rng
    from torch import Tensor

    from pixweave.component import BuildContext
    from pixweave.protocols import Sampler

api = 1


class Example(Component):
    """Draw soft noise in the colours that the texts name, mixed by their weights."""

    side: int = Field(64, ge=8, le=1024, description="side of the image in pixels")

    def build(self, run: BuildContext) -> Sampler:
        """The sampler."""
        return Clouds(self.side, run)


class Clouds:
    """Samples an image `[1, 3, side, side]`, 0..1."""

    def __init__(self, side: int, run: BuildContext) -> None:
        self.side, self.device = side, run.device

    def sample(self, prompts: Sequence[tuple[str, float]], rng: Rng) -> Tensor:
        """An image for texts with weights; all randomness is drawn from `rng`."""
        import torch
        from PIL import ImageColor
        from torch.nn.functional import interpolate

        total = torch.zeros(3)
        weights = 0.0
        for text, weight in prompts:
            for word in text.lower().split():
                if weight > 0 and word in ImageColor.colormap:
                    total += weight * torch.tensor(ImageColor.getrgb(word)[:3]) / 255
                    weights += weight
        colour = total / weights if weights else torch.full((3,), 0.5)
        noise = torch.rand(1, 3, 4, 4, generator=rng) - 0.5
        soft = interpolate(noise, (self.side, self.side), mode="bilinear", align_corners=False)
        return (colour[:, None, None] + 0.4 * soft).clamp(0, 1).to(self.device)


@hookimpl
def register_samplers() -> dict[str, type[Component]]:
    """Register `example`."""
    return {"example": Example}
