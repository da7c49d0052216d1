"""Rank: a score for a picture, from the losses that a run would have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pixweave.engine.context import Bench
from pixweave.media import images

if TYPE_CHECKING:
    from pixweave.recipe import Recipe
    from pixweave.recipe.stage_reader import Stage


class Ranker:
    """A score for a picture file: the stage's losses under no_grad, their sum's sign turned.

    Every picture is seen in the same crops, those of the recipe's last step, without augmentations.
    """

    def __init__(self, recipe: Recipe, stage: Stage, bench: Bench) -> None:
        from pixweave.engine.run import Run

        own = stage.parts.get("perceptors") or recipe.perceptors
        self.recipe = replace(recipe, losses=stage.parts["losses"], perceptors=own,
                              augmentations=(), exports=(), filters=(), start_from=None,
                              overlay=None, mask=None)  # fmt: skip
        self.run = Run(self.recipe, ready=bench.ready)

    @torch.no_grad()
    def __call__(self, path: Path) -> float:
        """Higher is better; MissingError if it is no picture."""
        self.run.generator = _Still(images.from_file(path).to(self.run.device))
        view = self.run.look(self.recipe.steps - 1)
        losses = [part.weight(view.step) * part(view) for part in self.run.losses]
        return -float(torch.stack(losses).sum())


class _Still:
    """A generator that is one picture, for a view to look at."""

    def __init__(self, picture: torch.Tensor) -> None:
        self._picture = picture

    def image(self) -> torch.Tensor:
        return self._picture

    def parameters(self) -> list[torch.Tensor]:
        return [self._picture]

    def constrain(self) -> None: ...

    def start_from(self, image: torch.Tensor) -> None:
        self._picture = image

    def state_dict(self) -> dict[str, Any]:
        return {"picture": self._picture}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._picture = state["picture"]
