"""Classify image files in batches, in order; unreadable files are returned with the reason."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

import torch

from pixweave.classification.prediction_table import Prediction, predictions_of
from pixweave.engine.context import Context
from pixweave.engine.embedders import make_embedder
from pixweave.errors import RunError
from pixweave.loading import (
    DecodedImage,
    ImageFile,
    Preprocessing,
    UnreadableImage,
    find_images,
    read_images,
)
from pixweave.protocols import Classifier
from pixweave.search import is_index, open_index

if TYPE_CHECKING:
    from pixweave.search import Filters

BATCH = 16
"""Images per batch: on a CPU larger batches are no faster."""
VECTORS = 1024
"""Vectors per batch."""


def classify(
    classifier: Classifier,
    files: Iterable[ImageFile | UnreadableImage],
    context: Context,
    batch: int = 0,
) -> Iterator[Prediction | UnreadableImage]:
    """A Prediction for each image, in order; an UnreadableImage with the reason for the others.

    `batch` images are classified together; 0: as many as `pixweave index` encodes together.
    """
    batch = batch or (BATCH if classifier.size >= 128 else 4 * BATCH)
    reading = read_images(files, preprocessing_for(classifier, context))
    try:
        while group := list(islice(reading, batch)):
            images = [image for _, image in group if isinstance(image, DecodedImage)]
            found = iter(_classify_batch(classifier, images, context.device) if images else ())
            yield from (
                next(found) if isinstance(image, DecodedImage) else image for _, image in group
            )
    finally:
        reading.close()  # stops prefetching


def classify_inputs(
    classifier: Classifier,
    inputs: Iterable[str],
    context: Context,
    hidden: bool = False,
    filters: Filters | None = None,
) -> Iterator[Prediction | UnreadableImage]:
    """Like `classify`, for files, folders, patterns and indexes (from vectors, reading no file)."""
    for indexed, group in groupby(inputs, is_index):
        if indexed:
            for folder in group:
                yield from classify_index(classifier, folder, context, filters)
        else:
            yield from classify(classifier, find_images(group, hidden), context)


def classify_index(
    classifier: Classifier, folder: str, context: Context, filters: Filters | None = None
) -> Iterator[Prediction]:
    """A Prediction for each image of an index, sorted by path; uses its vectors, opens no file.

    Raises MissingError if the index has no vectors of the classifier's perceptor, RunError if the
    classifier cannot classify vectors.
    """
    judge = getattr(classifier, "judge", None)
    name = getattr(classifier, "perceptor", "")
    part = next((part for part in context.recipe.perceptors if part.id == name), None)
    if judge is None or part is None:
        raise RunError(
            "this classifier needs the images, and an index only has their vectors; "
            "name the folders of the images instead"
        )
    with open_index(folder, make_embedder(context.recipe, part, context.prebuilt)) as index:
        paths, vectors = index.pictures(filters)
    for start in range(0, len(paths), VECTORS):
        batch = torch.from_numpy(vectors[start : start + VECTORS]).to(context.device)
        yield from predictions_of(classifier, judge(batch), paths[start : start + VECTORS])


def classify_files(
    classifier: Classifier, paths: Iterable[str], context: Context
) -> Iterator[Prediction | UnreadableImage]:
    """Like `classify`, for a list of files; predictions have the paths as given."""
    listed = list(paths)
    names = {os.path.abspath(path): path for path in listed}
    for found in classify(classifier, find_images(listed), context):
        yield replace(found, path=names.get(found.path, found.path))


def preprocessing_for(classifier: Classifier, context: Context) -> Preprocessing:
    """How images are read for the classifier: like for its perceptor, if it has one."""
    perceptor = context.perceptors.get(getattr(classifier, "perceptor", ""))
    fit: Any = getattr(perceptor, "fit", "crop")
    method: Any = getattr(perceptor, "method", "bicubic")
    return Preprocessing(classifier.size, fit, method)


def _classify_batch(
    classifier: Classifier, images: Sequence[DecodedImage], device: torch.device
) -> Iterator[Prediction]:
    squares = torch.cat([torch.from_numpy(image.pixels) for image in images])
    pixels = squares.to(device).permute(0, 3, 1, 2).float() / 255
    scores = classifier(pixels.contiguous())
    yield from predictions_of(classifier, scores, [image.path for image in images])
