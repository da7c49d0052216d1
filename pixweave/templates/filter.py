"""Filter `example`: darken the corners of the finished image."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pixweave import Component, Value, hookimpl, over_time

if TYPE_CHECKING:
    from torch import Tensor

    from pixweave.component import BuildContext
    from pixweave.protocols import Filter
    from pixweave.timeline.values import Moment

api = 1


class Example(Component):
    """Darken the image towards its corners."""

    can: ClassVar[frozenset[str]] = frozenset({"stateless"})  # each frame depends on itself alone

    strength: Value = over_time(0.5, ge=0, le=1, description="how dark corners become, 1: black")

    def build(self, run: BuildContext) -> Filter:
        """The filter: images `[B, 3 or 4, H, W]`, 0..1; it leaves the alpha as it is."""
        import torch

        def darken(image: Tensor, moment: Moment) -> Tensor:
            height, width = image.shape[-2:]
            y = torch.linspace(-1, 1, height, device=image.device)[:, None]
            x = torch.linspace(-1, 1, width, device=image.device)[None]
            shade = 1 - self.strength.at(moment) * (x**2 + y**2) / 2
            return torch.cat([image[:, :3] * shade, image[:, 3:]], dim=1)

        return darken


@hookimpl
def register_filters() -> dict[str, type[Component]]:
    """Register `example`."""
    return {"example": Example}
