"""Loss `example`: push the contrast of the image to an amount."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pixweave import Component, Value, hookimpl, over_time

if TYPE_CHECKING:
    from torch import Tensor

    from pixweave.component import BuildContext
    from pixweave.protocols import Loss, View

api = 1


class Example(Component):
    """Give the image as much contrast as asked for: the standard deviation of its brightness."""

    amount: Value = over_time(0.25, ge=0, le=0.5, description="standard deviation to reach")

    def build(self, run: BuildContext) -> Loss:
        """The loss: the squared distance from the amount, per image, averaged."""

        def loss(view: View) -> Tensor:
            grey = view.image.mean(dim=1)  # view.image: float32 [B, 3, H, W], 0..1
            contrast = (grey.flatten(1).var(dim=1) + 1e-8).sqrt()  # sqrt(0) has no gradient
            return (contrast - self.amount.at(view.moment)).square().mean()

        return loss


@hookimpl
def register_losses() -> dict[str, type[Component]]:
    """Register `example`."""
    return {"example": Example}
