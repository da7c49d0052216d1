"""Classify: picture files to labels, by a classifier, batch by batch and in order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pixweave.engine.context import Bench, open_bench
from pixweave.errors import RunError
from pixweave.loading import Fault, Found, Look, Picture, find_pictures, read_all
from pixweave.protocols import Classifier, Scores
from pixweave.search import is_index

if TYPE_CHECKING:
    from pixweave.plugins import Plugins
    from pixweave.search import Filters

BATCH = 16
"""Pictures that are judged together: on a CPU more are no faster."""
AT_ONCE = 1024
"""Vectors that are judged together."""
NOBODY = "unknown"
"""What a picture is called that none of the labels fits."""


@dataclass(frozen=True)
class Answer:
    """What a classifier says of one picture.

    `label` is the best one, or `unknown`; `scores` are all labels with their scores, 0..1, the
    best first; `known` is how sure it is that any label fits, where the classifier can tell.
    """

    path: str
    label: str
    scores: tuple[tuple[str, float], ...]
    known: float | None = None

    @property
    def score(self) -> float:
        """The score of the best label, whether or not the picture is `unknown`."""
        return self.scores[0][1]


def classify(
    classifier: Classifier, files: Iterable[Found | Fault], bench: Bench, batch: int = 0
) -> Iterator[Answer | Fault]:
    """An Answer for each picture, in order; a Fault, with its reason, for what is none.

    `batch` pictures are judged together; 0: as many as `pixweave index` encodes together.
    """
    batch = batch or (BATCH if classifier.size >= 128 else 4 * BATCH)
    seen = read_all(files, look_of(classifier, bench))
    try:
        while group := list(islice(seen, batch)):
            read = [got for _, got in group if isinstance(got, Picture)]
            answers = iter(_judge(classifier, read, bench.device) if read else ())
            yield from (next(answers) if isinstance(got, Picture) else got for _, got in group)
    finally:
        seen.close()  # stops reading ahead


def classify_inputs(
    classifier: Classifier, inputs: Iterable[str], bench: Bench, hidden: bool = False,
    filters: Filters | None = None,
) -> Iterator[Answer | Fault]:  # fmt: skip
    """The same for files, folders and patterns; of an index the vectors are taken, no file read."""
    for indexed, group in groupby(inputs, is_index):
        if indexed:
            for folder in group:
                yield from classify_index(classifier, folder, bench, filters)
        else:
            yield from classify(classifier, find_pictures(group, hidden), bench)


def classify_index(
    classifier: Classifier, folder: str, bench: Bench, filters: Filters | None = None
) -> Iterator[Answer]:
    """An Answer for each picture of an index, by path: by its vector, no file is opened.

    Raises MissingError where the index has no vectors of the classifier's perceptor, RunError where
    the classifier does not judge vectors.
    """
    from pixweave.embedding.embedder import Encoder
    from pixweave.search import open_index

    judge = getattr(classifier, "judge", None)
    eye = getattr(classifier, "perceptor", "")
    part = next((part for part in bench.recipe.perceptors if part.id == eye), None)
    if judge is None or part is None:
        raise RunError("the classifier looks at pictures, and an index has their vectors; name "
                       "the folders of the pictures instead")  # fmt: skip
    with open_index(folder, Encoder(bench.recipe, part)) as index:
        paths, vectors = index.pictures(filters)
    for start in range(0, len(paths), AT_ONCE):
        names = paths[start : start + AT_ONCE]
        part_of = torch.from_numpy(vectors[start : start + AT_ONCE]).to(bench.device)
        yield from answers(classifier, judge(part_of), names)


def answers_of(
    classifier: Classifier, paths: Iterable[str], bench: Bench
) -> Iterator[Answer | Fault]:
    """The same for files that are named one by one, under the names that they are given by."""
    listed = list(paths)
    names = {os.path.abspath(path): path for path in listed}
    for found in classify(classifier, find_pictures(listed), bench):
        yield replace(found, path=names.get(found.path, found.path))


def look_of(classifier: Classifier, bench: Bench) -> Look:
    """How pictures are read for it: as its perceptor wants them, if it has one."""
    eye = bench.perceptors.get(getattr(classifier, "perceptor", ""))
    fit: Any = getattr(eye, "fit", "crop")
    method: Any = getattr(eye, "method", "bicubic")
    return Look(classifier.size, fit, method)


def _judge(
    classifier: Classifier, pictures: Sequence[Picture], device: torch.device
) -> Iterator[Answer]:
    shown = [torch.from_numpy(picture.pixels) for picture in pictures]
    images = torch.cat(shown).to(device).permute(0, 3, 1, 2).float() / 255
    yield from answers(classifier, classifier(images.contiguous()), [p.path for p in pictures])


def answers(classifier: Classifier, scores: Scores, names: Sequence[str]) -> Iterator[Answer]:
    """The scores of some pictures as answers."""
    least = getattr(classifier, "least", None)
    known = scores.known.tolist() if scores.known is not None else [None] * len(names)
    values, places = scores.values.sort(dim=1, descending=True, stable=True)
    rows = zip(names, values.tolist(), places.tolist(), known, strict=True)
    for name, row, order, sure in rows:
        ranked = tuple(zip(map(classifier.labels.__getitem__, order), row, strict=True))
        unknown = least is not None and sure is not None and sure < least
        yield Answer(name, NOBODY if unknown else ranked[0][0], ranked, sure)


class ZeroShot:
    """Labels in words for any pictures; made by `zero_shot`."""

    def __init__(self, classifier: Classifier, bench: Bench) -> None:
        self.classifier, self.bench = classifier, bench

    def __call__(self, images: Any) -> list[Answer]:
        """An Answer for each picture: paths, or a tensor `[N, 3, H, W]` of 0..1.

        Raises MissingError for a path that holds no picture.
        """
        if isinstance(images, torch.Tensor):
            return self._tensor(images)
        from pixweave.errors import MissingError

        listed = [images] if isinstance(images, (str, Path)) else images
        found = list(classify(self.classifier, find_pictures(listed), self.bench))
        for answer in found:
            if isinstance(answer, Fault):
                raise MissingError(f"'{answer.path}' is no picture: {answer.reason}")
        return [answer for answer in found if isinstance(answer, Answer)]

    def _tensor(self, images: torch.Tensor) -> list[Answer]:
        side = (self.classifier.size,) * 2
        found: list[Answer] = []
        for part in images.to(self.bench.device).split(BATCH):
            small = part
            if tuple(part.shape[-2:]) != side:
                small = torch.nn.functional.interpolate(
                    part, side, mode="bicubic", antialias=True
                ).clamp(0, 1)
            names = [str(len(found) + i) for i in range(len(part))]
            found += answers(self.classifier, self.classifier(small), names)
        return found


def zero_shot(
    labels: Sequence[str] | Mapping[str, Any],
    perceptor: str | Mapping[str, Any] = "tiny",
    device: str = "auto",
    plugins: Plugins | None = None,
    **settings: Any,
) -> ZeroShot:
    """A function of pictures that names them: `zero_shot(["a cat", "a dog"])(["a.jpg"])`.

    `perceptor` and `settings` are those of a recipe: templates, multi, unknown_below and so on.
    Raises RecipeError for what is wrong with them.
    """
    import json

    from pixweave.plugins import Plugins
    from pixweave.recipe import load_text

    kept = labels if isinstance(labels, Mapping) else list(labels)
    body = {"pixweave": 1, "do": "classify", "input": ".", "perceptors": [perceptor],
            "device": device, "labels": kept, **settings}  # fmt: skip
    found = plugins or Plugins.discover()
    recipe = load_text(json.dumps(body), "zero_shot", Path.cwd(), found)
    bench = open_bench(recipe)
    return ZeroShot(bench.build(recipe.stages[0].parts["classifier"][0]), bench)
