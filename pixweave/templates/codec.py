"""Codec `example`: images as mosaics of 27 colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pixweave import Component, Field, hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from pixweave.component import BuildContext
    from pixweave.protocols import Codec

api = 1


class Example(Component):
    """Encode each square of the image as one of 27 colours."""

    factor: int = Field(8, ge=1, le=64, description="side of the square of one code, in pixels")

    def build(self, run: BuildContext) -> Codec:
        """The codec."""
        import torch

        levels = torch.tensor([0.0, 0.5, 1.0], device=run.device)
        return Mosaic(torch.cartesian_prod(levels, levels, levels), self.factor)


class Mosaic:
    """A code is a row of `codebook`, the colours `[K, 3]`; latents are mean colours."""

    def __init__(self, codebook: Tensor, factor: int) -> None:
        self.codebook, self.factor = codebook, factor

    def encode(self, images: Tensor) -> Tensor:
        """The mean colours `[B, 3, h, w]` of the squares of images `[B, 3, H, W]`."""
        from torch.nn.functional import avg_pool2d

        return avg_pool2d(images, self.factor)

    def nearest(self, latents: Tensor) -> Tensor:
        """The codes `[B, h, w]` of the nearest colours."""
        import torch

        distances = torch.cdist(latents.permute(0, 2, 3, 1).flatten(1, 2), self.codebook[None])
        return distances.argmin(2).view(len(latents), *latents.shape[-2:])

    def look_up(self, codes: Tensor) -> Tensor:
        """The colours `[B, 3, h, w]` of codes."""
        return self.codebook[codes].permute(0, 3, 1, 2)

    def decode(self, latents: Tensor) -> Tensor:
        """The mosaic `[B, 3, H, W]`; differentiable."""
        from torch.nn.functional import interpolate

        return interpolate(latents, scale_factor=self.factor, mode="nearest")


@hookimpl
def register_codecs() -> dict[str, type[Component]]:
    """Register `example`."""
    return {"example": Example}
