"""Classifier `zero_shot`: labels in words, weighed against a picture by a perceptor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema, model_validator

from pixweave import Component, Field, Issue
from pixweave.errors import InvalidValue, did_you_mean
from pixweave.recipe import InputFile

if TYPE_CHECKING:
    from pixweave.component import BuildContext, RecipeInfo

SETS = ("auto", "raw", "simple", "imagenet")
"""Names that stand for templates; see `pixweave_zeroshot.templates`."""

UNKNOWN = "unknown"
"""What a picture is called that none of the labels fits."""


def _labels(raw: Any) -> dict[str, tuple[str, ...]]:
    """Label -> the texts that stand for it, from a list of labels or such a mapping."""
    if not isinstance(raw, Mapping):
        if not isinstance(raw, (list, tuple)) or not all(isinstance(item, str) for item in raw):
            raise InvalidValue(
                "must be a list of texts, or a mapping of labels to texts", "put a number in quotes"
            )
        if twice := next((item for item, count in Counter(raw).items() if count > 1), None):
            raise InvalidValue(f"has the label '{twice}' twice", "remove one")
        raw = {item: item for item in raw}
    if not raw:
        raise InvalidValue("must have at least one label")
    found = {}
    for label, texts in raw.items():
        several = (texts,) if isinstance(texts, str) else texts
        good = isinstance(several, (list, tuple)) and all(isinstance(t, str) for t in several)
        if not good or not several:
            raise InvalidValue(f"must give a text, or a list of texts, for '{label}'")
        if not str(label).strip() or any(not text.strip() for text in several):
            raise InvalidValue("must not have an empty label")
        found[str(label)] = tuple(map(str, several))
    return found


def _templates(raw: Any) -> Any:
    if isinstance(raw, str) and raw in SETS:
        return str(raw)
    if isinstance(raw, str) or not isinstance(raw, (list, tuple)) or not raw:
        hint = did_you_mean(raw, SETS) if isinstance(raw, str) else ""
        raise InvalidValue(f"must be a list of texts or one of {', '.join(SETS)}", hint)
    for text in raw:
        if not isinstance(text, str) or "{}" not in text:
            raise InvalidValue(
                f"has {str(text)!r}, in which nothing says where the label goes",
                "write {} in its place, in quotes",
            )
    return tuple(map(str, raw))


_TEXTS = {"type": "array", "items": {"type": "string"}}
Labels = Annotated[
    dict[str, tuple[str, ...]],
    BeforeValidator(_labels),
    WithJsonSchema(
        {
            "anyOf": [
                {**_TEXTS, "minItems": 1},
                {"type": "object", "additionalProperties": {"anyOf": [{"type": "string"}, _TEXTS]}},
            ],
            "x-type": "list of texts | label: texts",
        }
    ),
]
Templates = Annotated[
    Any,
    BeforeValidator(_templates),
    WithJsonSchema({"anyOf": [{"enum": list(SETS)}, _TEXTS], "x-type": " | ".join(SETS)}),
]


class ZeroShot(Component):
    """Name pictures by labels in words, with no training (CLIP's zero-shot, Radford et al. 2021).

    Each label fills the templates; their embeddings are normalised, averaged, normalised; the
    cosines with the picture times the model's own factor go through a softmax. With `multi` each
    label stands for itself: a SigLIP answers with its own sigmoid, another CLIP with the label's
    share against the `background`, both as if equally likely: 0.5 is a guess. `unknown_below` names
    a picture `unknown` when the labels have less than that share against the background (after
    NegLabel, Jiang et al. 2024); with `multi` or a SigLIP, when no label by itself reaches it.
    """

    labels: Labels | None = Field(
        None, description="what to choose from: a list, or a mapping of each label to its texts"
    )
    labels_file: InputFile | None = Field(None, description="the same, a label on each line")
    templates: Templates = Field(
        "auto",
        description="texts in which {} is the label, or a set: raw (the bare label), simple (7), "
        "imagenet (80); auto: what the perceptor says suits it, else simple",
    )
    templates_file: InputFile | None = Field(None, description="the same, a text on each line")
    multi: bool = Field(False, description="several labels may be right, or none")
    unknown_below: float | None = Field(
        None, ge=0, le=1, description="how sure it must be that any label fits; else `unknown`"
    )
    background: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="captions of what else there is; by default those that the perceptor brings, "
        "else 100 classes of ImageNet; those that mean nearly the same as a label are left out",
    )
    perceptor: str | None = Field(
        None, description="id of the perceptor that judges; by default the first"
    )
    scale: float | None = Field(
        None, gt=0, description="factor on the cosines; by default the perceptor's own"
    )

    @model_validator(mode="after")
    def _one_of_each(self) -> ZeroShot:
        if (self.labels is None) == (self.labels_file is None):
            raise ValueError("give either labels or labels_file")
        if self.templates_file is not None and self.templates != "auto":
            raise ValueError("give either templates or templates_file")
        return self

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """The perceptor must be there, and there must be something to choose."""
        known = [part.id for part in recipe.perceptors]
        if not known:
            yield Issue("perceptor", "the recipe has no perceptor", "add 'perceptors: [tiny]'")
        elif self.perceptor is not None and self.perceptor not in known:
            message = f"the recipe has no perceptor with the id '{self.perceptor}'"
            yield Issue("perceptor", message, did_you_mean(self.perceptor, known))
        where = "labels" if self.labels is not None else "labels_file"
        for name in ("labels_file", "templates_file"):
            try:
                self.texts() if name == "labels_file" else self.patterns()
            except ValueError as error:
                yield Issue(name, *_two(error))
                return
        labels = self.texts()
        if len(labels) < 2 and not self.multi and self.unknown_below is None:
            yield Issue(
                where,
                "one label alone always wins",
                "add another, or set 'multi' or 'unknown_below'",
            )
        if self.unknown_below is not None and UNKNOWN in labels:
            yield Issue(
                where,
                f"the label '{UNKNOWN}' means that none fits",
                "choose another word, or remove 'unknown_below'",
            )

    def texts(self) -> dict[str, tuple[str, ...]]:
        """Label -> the texts that stand for it; ValueError for a file that holds no such thing."""
        return self.labels if self.labels is not None else _file(self.labels_file, _labels)

    def patterns(self) -> tuple[str, ...] | str:
        """The templates, or the name of a set of them; ValueError for a wrong file."""
        path = self.templates_file
        found: tuple[str, ...] | str = self.templates if path is None else _file(path, _templates)
        return found

    def build(self, run: BuildContext) -> Any:
        """The live classifier; see `pixweave_zeroshot.zero_shot_classifier`."""
        from pixweave_zeroshot.zero_shot_classifier import ZeroShotJudge

        return ZeroShotJudge(self, run)


def _file(path: Path | None, check: Callable[[list[str]], Any]) -> Any:
    """What `check` makes of the lines of a file; InvalidValue names the file."""
    from pixweave_zeroshot.templates import lines

    assert path is not None
    try:
        return check(lines(path))
    except InvalidValue as wrong:
        raise InvalidValue(f"the file '{path.name}' {wrong.message}", wrong.hint) from None


def _two(error: ValueError) -> tuple[str, str]:
    return (error.message, error.hint) if isinstance(error, InvalidValue) else (str(error), "")
