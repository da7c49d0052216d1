"""Predictions and their table rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pixweave.protocols import Classifier, Scores

UNKNOWN = "unknown"
"""The label of an image that none of the labels fits."""


@dataclass(frozen=True)
class Prediction:
    """The result of classifying one image.

    `label` is the best one, or `unknown`; `scores` are all labels with their scores, 0..1, the
    best first; `known`, 0..1, is the confidence that any label fits, None if the classifier does
    not estimate it.
    """

    path: str
    label: str
    scores: tuple[tuple[str, float], ...]
    known: float | None = None

    @property
    def score(self) -> float:
        """The score of the best label, even if the image is `unknown`."""
        return self.scores[0][1]


def predictions_of(
    classifier: Classifier, scores: Scores, names: Sequence[str]
) -> Iterator[Prediction]:
    """The scores of images, named by `names`, as predictions."""
    least = getattr(classifier, "least", None)
    known = scores.known.tolist() if scores.known is not None else [None] * len(names)
    values, places = scores.values.sort(dim=1, descending=True, stable=True)
    rows = zip(names, values.tolist(), places.tolist(), known, strict=True)
    for name, row, order, sure in rows:
        ranked = tuple(zip(map(classifier.labels.__getitem__, order), row, strict=True))
        unknown = least is not None and sure is not None and sure < least
        yield Prediction(name, UNKNOWN if unknown else ranked[0][0], ranked, sure)


def prediction_row(
    prediction: Prediction,
    top: int,
    path: str = "",
    known: bool | None = None,
    nested: bool = False,
) -> dict[str, Any]:
    """A prediction as a table row with its `top` best labels.

    They are columns `label_2`, `score_2` and so on; with `nested` one list `top`. `known`: whether
    to add that column; None: if the classifier estimates it. `path` replaces the prediction's.
    """
    row: dict[str, Any] = {"path": path or prediction.path, "label": prediction.label}
    row["score"] = round(prediction.score, 6)
    if known or (known is None and prediction.known is not None):
        row["known"] = None if prediction.known is None else round(prediction.known, 6)
    best = [(name, round(score, 6)) for name, score in prediction.scores[:top]]
    if nested:
        return {**row, "top": [{"label": name, "score": score} for name, score in best]}
    for number, (name, score) in enumerate(best[1:], 2):
        row |= {f"label_{number}": name, f"score_{number}": score}
    return row
