"""Ranking: scores images by losses; no generator is built."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from pixweave.component import Part
from pixweave.engine.context import Context, Prebuilt
from pixweave.engine.run import WeightedLoss
from pixweave.engine.still_picture import StillPicture
from pixweave.engine.view import StepView
from pixweave.media import images
from pixweave.recipe import Recipe


class Ranker:
    """Scores an image file: score = negative sum of the weighted losses; higher is better.

    All images use the same crops, those of the recipe's last step, without augmentations.
    """

    def __init__(
        self,
        recipe: Recipe,
        losses: Sequence[Part],
        perceptors: Sequence[Part] = (),
        prebuilt: Prebuilt | None = None,
    ) -> None:
        used = tuple(perceptors) or recipe.perceptors
        self.recipe = replace(recipe, losses=tuple(losses), perceptors=used)
        self.context = Context(self.recipe, prebuilt=prebuilt)
        self.context.build_perceptors()
        still = StillPicture(torch.zeros(1, 3, *reversed(recipe.size), device=self.context.device))
        self.losses = [
            WeightedLoss(part, self.context.build(part, still)) for part in self.recipe.losses
        ]
        self.moment = recipe.moment(recipe.steps - 1)

    @torch.no_grad()
    def __call__(self, path: Path) -> float:
        """The score; MissingError if the file is not a readable image."""
        image = images.read_image(path).to(self.context.device)
        view = StepView(self.context, {}, self.moment, image)
        losses = [loss.weight(self.moment) * loss(view) for loss in self.losses]
        return -float(torch.stack(losses).sum())
