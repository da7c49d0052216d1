"""Trainer `example`: learn the mean colour of images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pixweave import Component, Field, hookimpl

if TYPE_CHECKING:
    from torch import Tensor

    from pixweave.protocols import Training
    from pixweave.train.plan import TrainContext

api = 1


class Example(Component):
    """Learn the mean colour of the images."""

    suffix: ClassVar[str] = ".safetensors"

    steps: int = Field(500, ge=1, description="training steps")
    size: int = Field(64, ge=8, description="side of the images in pixels")
    batch: int = Field(32, ge=1, description="images per step")

    def build(self, run: TrainContext) -> Training:
        """The training."""
        return MeanColour(self, run)


class MeanColour:
    """A running mean; everything that changes is in `state_dict`."""

    def __init__(self, settings: Example, run: TrainContext) -> None:
        import torch

        self.settings, self.run = settings, run
        self.colour = torch.full((3,), 0.5, device=run.device)

    def step(self, step: int) -> Mapping[str, float]:
        """One update; torch's random numbers are seeded for each step, so it can be resumed."""
        import torch

        train = self.run.dataset.train
        rows = train[torch.randint(len(train), (self.settings.batch,)).numpy()]
        error = self._images(rows).mean((0, 2, 3)) - self.colour
        self.colour = self.colour + 0.1 * self.run.cosine(step) * error
        return {"error": error.abs().mean().item()}

    def state_dict(self) -> dict[str, Any]:
        """All that a resumed training needs."""
        return {"colour": self.colour}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from there."""
        self.colour = state["colour"].to(self.run.device)

    def samples(self) -> Tensor:
        """An image that shows the progress, `[1, 3, 64, 64]`."""
        return self.colour[None, :, None, None].expand(1, 3, 64, 64).cpu()

    def measure(self) -> Mapping[str, float]:
        """Metrics on the images that were held out."""
        images = self._images(self.run.dataset.held)
        return {"error": (images.mean((0, 2, 3)) - self.colour).abs().mean().item()}

    def save(self, path: Path) -> None:
        """Write the model."""
        from safetensors.torch import save_file

        save_file({"colour": self.colour.cpu().contiguous()}, path)

    def _images(self, rows: Any) -> Tensor:
        images: Tensor = self.run.dataset.images(rows)
        return images.to(self.run.device)


@hookimpl
def register_trainers() -> dict[str, type[Component]]:
    """Register `example`."""
    return {"example": Example}
