"""zero_shot: classify images by labels given as text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from pixweave.classification.classify_images import BATCH, classify, preprocessing_for
from pixweave.classification.prediction_table import Prediction, predictions_of
from pixweave.engine.context import Context, open_context
from pixweave.errors import MissingError, RunError
from pixweave.loading import UnreadableImage, find_images
from pixweave.loading.decode import picture_square
from pixweave.media.images import opened_picture
from pixweave.plugins import Plugins
from pixweave.protocols import Classifier
from pixweave.recipe import load_keys


class ZeroShot:
    """Classifies images by labels given as text; made by `zero_shot`."""

    def __init__(self, classifier: Classifier, context: Context) -> None:
        self.classifier, self.context = classifier, context

    def __call__(self, images: Any) -> list[Prediction]:
        """A Prediction for each image, in order; one image gives a list of one.

        `images` are paths, Pillow images, frames, hits, arrays `[H, W, 3 or 4]` (uint8, or floats
        in 0..1) or a list of these; or a tensor `[N, 3 or 4, H, W]`, float in 0..1. Alpha is
        composited over white. Raises MissingError for a path that is not a readable image, and
        RunError for an object that is none of these.
        """
        if isinstance(images, torch.Tensor):
            return self._tensor(images)
        listed = list(images) if isinstance(images, (list, tuple)) else _single(images)
        found: list[Prediction] = []
        for are_paths, group in groupby(listed, lambda item: isinstance(item, (str, Path))):
            chosen = list(group)
            found += self._files(chosen) if are_paths else self._pictures(chosen, len(found))
        return found

    def _files(self, paths: Iterable[str | Path]) -> Iterator[Prediction]:
        for prediction in classify(self.classifier, find_images(paths), self.context):
            if isinstance(prediction, UnreadableImage):
                reason = prediction.reason
                raise MissingError(f"'{prediction.path}' is not an image: {reason}", reason)
            yield prediction

    def _pictures(self, pictures: Sequence[Any], before: int) -> Iterator[Prediction]:
        """Predictions of Pillow images and arrays, prepared like files."""
        preprocessing = preprocessing_for(self.classifier, self.context)
        for start in range(0, len(pictures), BATCH):
            batch = pictures[start : start + BATCH]
            # frames and hits have their picture as `pil`
            opened = [opened_picture(getattr(picture, "pil", picture)) for picture in batch]
            squares = np.stack([picture_square(picture, preprocessing) for picture in opened])
            pixels = torch.from_numpy(squares).to(self.context.device).permute(0, 3, 1, 2)
            names = [
                str(getattr(picture, "filename", "") or before + start + number)
                for number, picture in enumerate(batch)
            ]
            scores = self.classifier(pixels.float().contiguous() / 255)
            yield from predictions_of(self.classifier, scores, names)

    def _tensor(self, images: torch.Tensor) -> list[Prediction]:
        images = images[None] if images.ndim == 3 else images
        if images.ndim != 4 or images.shape[1] not in (3, 4) or not images.is_floating_point():
            raise RunError(
                "a tensor of images must be float [N, 3 or 4, H, W] in 0..1, not "
                f"{str(images.dtype).removeprefix('torch.')} {list(images.shape)}"
            )
        side = (self.classifier.size,) * 2
        found: list[Prediction] = []
        for batch in images.float().to(self.context.device).split(BATCH):
            names = [str(len(found) + i) for i in range(len(batch))]
            if batch.shape[1] == 4:
                batch = batch[:, :3] * batch[:, 3:] + 1 - batch[:, 3:]
            if tuple(batch.shape[-2:]) != side:
                batch = interpolate(batch, side, mode="bicubic", antialias=True).clamp(0, 1)
            found += predictions_of(self.classifier, self.classifier(batch), names)
        return found


def _single(images: Any) -> Iterable[Any]:
    """One image as a list; an array `[N, H, W, C]`, or any iterable, as its images."""
    many = getattr(images, "ndim", 0) == 4
    return images if many or isinstance(images, Iterator) else [images]


def zero_shot(
    labels: str | Sequence[str] | Mapping[str, Any],
    perceptor: str | Mapping[str, Any] = "tiny",
    device: str = "auto",
    plugins: Plugins | None = None,
    **settings: Any,
) -> ZeroShot:
    """A function that classifies images by labels: `zero_shot(["a cat", "a dog"])("a.jpg")`.

    Labels are a list, a mapping of labels to texts, or one text, separated by commas. `perceptor`
    and `settings` are those of a recipe: templates, multi, unknown_below and so on. Raises
    RecipeError with all errors in them, each under the name of its argument.
    """
    if isinstance(labels, str):
        labels = [label.strip() for label in labels.split(",") if label.strip()]
    keys = {
        "do": "classify",
        "input": ".",
        "perceptors": [perceptor],
        "device": device,
        "labels": labels,
        **settings,
    }
    recipe = load_keys(keys, plugins=plugins, name="zero_shot")
    context = open_context(recipe)
    return ZeroShot(context.build(stage_classifier(recipe)), context)


def stage_classifier(recipe: Any) -> Any:
    """The classifier part of a recipe whose first stage is `do: classify`."""
    return recipe.stages[0].settings.classifier
