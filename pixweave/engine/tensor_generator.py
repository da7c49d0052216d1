"""TensorGenerator: the shortest way to write a Generator, from tensors and a draw function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from pixweave.engine.optimizer import Adam


class TensorGenerator:
    """A Generator made of named leaf tensors and a function `tensors -> image [B, 3, H, W]`.

    The image is clamped to 0..1. `start_from` fits the tensors to an image by gradient descent.

        TensorGenerator(lambda t: t["grid"].sigmoid(), grid=torch.zeros(1, 3, 64, 64))
    """

    def __init__(self, draw: Callable[[Mapping[str, Tensor]], Tensor], **tensors: Tensor) -> None:
        self.draw = draw
        self.tensors = {name: t.detach().clone().requires_grad_() for name, t in tensors.items()}

    def parameters(self) -> list[Tensor]:
        """The tensors."""
        return list(self.tensors.values())

    def image(self) -> Tensor:
        """The image that the function draws from the tensors, in 0..1."""
        return self.draw(self.tensors).clamp(0, 1)

    def constrain(self) -> None:
        """Do nothing: the image is clamped, the tensors are unconstrained."""

    def start_from(self, image: Tensor, steps: int = 200, rate: float = 0.05) -> None:
        """Fit the tensors to `image`: `steps` of Adam on the mean squared difference."""
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
