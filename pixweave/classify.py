"""Classify: picture files to labels, by a classifier, batch by batch and in order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pixweave.bench import Bench, open_bench
from pixweave.pictures import Fault, Found, Look, Picture, find_pictures, read_all
from pixweave.protocols import Classifier, Scores

if TYPE_CHECKING:
    from pixweave.plugins import Plugins

BATCH = 16
"""Pictures that are judged together: on a CPU more are no faster."""
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
    classifier: Classifier, files: Iterable[Found | Fault], bench: Bench, batch: int = BATCH
) -> Iterator[Answer | Fault]:
    """An Answer for each picture, in order; a Fault, with its reason, for what is none."""
    seen = read_all(files, look_of(classifier, bench))
    try:
        while group := list(islice(seen, batch)):
            read = [got for _, got in group if isinstance(got, Picture)]
            answers = iter(_judge(classifier, read, bench.device) if read else ())
            yield from (next(answers) if isinstance(got, Picture) else got for _, got in group)
    finally:
        seen.close()  # stops reading ahead


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
    for name, row, sure in zip(names, scores.values.tolist(), known, strict=True):
        ranked = sorted(zip(classifier.labels, row, strict=True), key=lambda pair: -pair[1])
        unknown = least is not None and sure is not None and sure < least
        yield Answer(name, NOBODY if unknown else ranked[0][0], tuple(ranked), sure)


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
