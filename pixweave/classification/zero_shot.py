"""zero_shot: classify images by labels given as text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import interpolate

from pixweave.classification.classify_images import BATCH, classify
from pixweave.classification.prediction_table import Prediction, predictions_of
from pixweave.engine.context import Context, open_context
from pixweave.errors import MissingError
from pixweave.loading import UnreadableImage, find_images
from pixweave.plugins import Plugins
from pixweave.protocols import Classifier
from pixweave.recipe import load_text


class ZeroShot:
    """Classifies images by labels given as text; made by `zero_shot`."""

    def __init__(self, classifier: Classifier, context: Context) -> None:
        self.classifier, self.context = classifier, context

    def __call__(self, images: Any) -> list[Prediction]:
        """A Prediction for each image; `images` are paths or a tensor `[N, 3, H, W]`, 0..1.

        Raises MissingError for a path that is not a readable image.
        """
        if isinstance(images, torch.Tensor):
            return self._tensor(images)
        listed = [images] if isinstance(images, (str, Path)) else images
        found: list[Prediction] = []
        for prediction in classify(self.classifier, find_images(listed), self.context):
            if isinstance(prediction, UnreadableImage):
                reason = prediction.reason
                raise MissingError(f"'{prediction.path}' is not an image: {reason}", reason)
            found.append(prediction)
        return found

    def _tensor(self, images: torch.Tensor) -> list[Prediction]:
        side = (self.classifier.size,) * 2
        found: list[Prediction] = []
        for batch in images.to(self.context.device).split(BATCH):
            names = [str(len(found) + i) for i in range(len(batch))]
            if tuple(batch.shape[-2:]) != side:
                batch = interpolate(batch, side, mode="bicubic", antialias=True).clamp(0, 1)
            found += predictions_of(self.classifier, self.classifier(batch), names)
        return found


def zero_shot(
    labels: Sequence[str] | Mapping[str, Any],
    perceptor: str | Mapping[str, Any] = "tiny",
    device: str = "auto",
    plugins: Plugins | None = None,
    **settings: Any,
) -> ZeroShot:
    """A function that classifies images by labels: `zero_shot(["a cat", "a dog"])(["a.jpg"])`.

    `perceptor` and `settings` are those of a recipe: templates, multi, unknown_below and so on.
    Raises RecipeError with all errors in them.
    """
    body = {
        "pixweave": 1,
        "do": "classify",
        "input": ".",
        "perceptors": [perceptor],
        "device": device,
        "labels": labels if isinstance(labels, Mapping) else list(labels),
        **settings,
    }
    found = plugins or Plugins.discover()
    recipe = load_text(json.dumps(body), "zero_shot", Path.cwd(), found)
    context = open_context(recipe)
    return ZeroShot(context.build(stage_classifier(recipe)), context)


def stage_classifier(recipe: Any) -> Any:
    """The classifier part of a recipe whose first stage is `do: classify`."""
    return recipe.stages[0].settings.classifier
