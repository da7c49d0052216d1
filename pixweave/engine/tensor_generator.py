"""Drawing: the shortest way to a Generator, from some tensors and a function that draws them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from pixweave.engine.optimizer import Adam


class TensorGenerator:
    """A Generator made of named leaf tensors and a function `tensors -> image [B, 3, H, W]`.

    The image is clamped to 0..1. `start_from` fits the tensors to the picture by gradient descent.
    """

    def __init__(self, draw: Callable[[Mapping[str, Tensor]], Tensor], **tensors: Tensor) -> None:
        self.draw = draw
        self.tensors = {name: t.detach().clone().requires_grad_() for name, t in tensors.items()}

    def parameters(self) -> list[Tensor]:
        """The tensors."""
        return list(self.tensors.values())

    def image(self) -> Tensor:
        """What the function draws of them, in 0..1."""
        return self.draw(self.tensors).clamp(0, 1)

    def constrain(self) -> None:
        """Nothing: the image is clamped, the tensors are free."""

    def start_from(self, image: Tensor, steps: int = 200, rate: float = 0.05) -> None:
        """Fit the tensors to the picture: `steps` of Adam on the squared difference."""
        optimizer = Adam(self.parameters())
        for _ in range(steps):
            optimizer.zero_grad()
            ((self.draw(self.tensors)[:, :3] - image) ** 2).mean().backward()
            optimizer.step(rate)
        optimizer.zero_grad()

    def state_dict(self) -> dict[str, Tensor]:
        """The tensors by name."""
        return {name: tensor.detach().clone() for name, tensor in self.tensors.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set the tensors."""
        with torch.no_grad():
            for name, tensor in self.tensors.items():
                tensor.copy_(state[name])
