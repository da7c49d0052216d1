"""Perceptor `example`: compare images with the colours that a text names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pixweave import Component, Field, hookimpl

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pixweave.component import BuildContext
    from pixweave.protocols import Perceptor

api = 1


class Example(Component):
    """Know colours alone: an image is its mean colour, a text the mean of the colours it names."""

    side: int = Field(32, ge=4, le=512, description="side of its input images in pixels")

    def build(self, run: BuildContext) -> Perceptor:
        """The perceptor."""
        return Colours(self.side, run.device)

    def identity(self) -> str:
        """The key of cached text vectors: all that the vectors of texts depend on."""
        return "named colours, version 1"


class Colours:
    """Unit vectors float32 `[N, 4]`: red, green, blue around grey, and a constant."""

    def __init__(self, size: int, device: torch.device) -> None:
        self.size, self.device = size, device

    def encode_image(self, crops: Tensor) -> Tensor:
        """The vectors of images `[N, 3, size, size]`; differentiable."""
        return self._vectors(crops.mean((2, 3)))

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """The vectors of texts; a text without a colour is grey."""
        import torch
        from PIL import ImageColor

        rows = []
        for text in texts:
            words = [word for word in text.lower().split() if word in ImageColor.colormap]
            named = [ImageColor.getrgb(word)[:3] for word in words] or [(128, 128, 128)]
            rows.append([sum(channel) / len(named) / 255 for channel in zip(*named, strict=True)])
        return self._vectors(torch.tensor(rows, device=self.device))

    def _vectors(self, colours: Tensor) -> Tensor:
        from torch.nn.functional import normalize, pad

        return normalize(pad(colours - 0.5, (0, 1), value=0.1), dim=1)


@hookimpl
def register_perceptors() -> dict[str, type[Component]]:
    """Register `example`."""
    return {"example": Example}
