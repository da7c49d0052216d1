"""Generator `example`: a soft image, interpolated from a coarse grid of colours."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pixweave import Component, Field, hookimpl

if TYPE_CHECKING:
    from pixweave.component import BuildContext
    from pixweave.protocols import Generator

api = 1


class Example(Component):
    """A soft image: a coarse grid of colours, enlarged smoothly."""

    can: ClassVar[frozenset[str]] = frozenset({"start_from"})  # TensorGenerator can fit an image

    cells: int = Field(8, ge=2, le=256, description="colours along the shorter side")

    def build(self, run: BuildContext) -> Generator:
        """The generator; the colours start at random, from the recipe's seed."""
        import torch
        from torch.nn.functional import interpolate

        from pixweave import TensorGenerator  # it imports torch, which is slow

        width, height = run.size
        shape = [max(2, round(self.cells * side / min(run.size))) for side in (height, width)]
        start = torch.rand(1, 3, *shape, generator=run.rng("colours"))
        return TensorGenerator(
            lambda tensors: interpolate(
                tensors["colours"], (height, width), mode="bilinear", align_corners=False
            ),
            colours=start.to(run.device),
        )


@hookimpl
def register_generators() -> dict[str, type[Component]]:
    """Register `example`."""
    return {"example": Example}
