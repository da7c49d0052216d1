"""Classifier `example`: label images by the colours that the labels name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pixweave import Component, Field, Scores, hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from pixweave.component import BuildContext
    from pixweave.protocols import Classifier

api = 1


class Example(Component):
    """Score each label by how near the image's mean colour is to the colour that it names."""

    labels: tuple[str, ...] = Field(("red", "green"), description="labels: names of colours")
    sharpness: float = Field(10.0, gt=0, description="how much a nearer colour is preferred")

    def build(self, run: BuildContext) -> Classifier:
        """The classifier."""
        import torch
        from PIL import ImageColor

        named = [ImageColor.getrgb(label.split()[-1])[:3] for label in self.labels]
        colours = torch.tensor(named, device=run.device) / 255
        return ByColour(self.labels, colours, self.sharpness)


class ByColour:
    """Compares the mean colour with the colours of the labels, `[L, 3]`."""

    size = 32

    def __init__(self, labels: Sequence[str], colours: Tensor, sharpness: float) -> None:
        self.labels, self.colours, self.sharpness = labels, colours, sharpness

    def __call__(self, images: Tensor) -> Scores:
        """The scores of images `[N, 3, size, size]`: a softmax over negative distances."""
        import torch

        with torch.no_grad():
            logits = -self.sharpness * torch.cdist(images.mean((2, 3)), self.colours)
            return Scores(logits.softmax(1), logits)


@hookimpl
def register_classifiers() -> dict[str, type[Component]]:
    """Register `example`."""
    return {"example": Example}
