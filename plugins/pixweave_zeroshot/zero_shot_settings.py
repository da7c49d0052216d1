"""Settings of the classifier `zero_shot`: labels as texts, compared with an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, ConfigDict, WithJsonSchema, model_validator

from pixweave import Component, Field, Issue
from pixweave.errors import InvalidValue, did_you_mean
from pixweave.recipe import InputFile
from pixweave.recipe.schema_words import exactly_one

if TYPE_CHECKING:
    from pixweave.component import BuildContext, RecipeInfo

SETS = ("auto", "raw", "simple", "imagenet")
"""Names of template sets; see `pixweave_zeroshot.templates`."""

UNKNOWN = "unknown"
"""The label of images that none of the labels fits."""


def _labels(raw: Any) -> dict[str, tuple[str, ...]]:
    """Label -> its texts, from a list of labels or from such a mapping."""
    if not isinstance(raw, Mapping):
        if not isinstance(raw, (list, tuple)) or not all(isinstance(item, str) for item in raw):
            raise InvalidValue(
                "must be a list of texts, or a mapping of labels to texts", "put a number in quotes"
            )
        if repeated := next((item for item, count in Counter(raw).items() if count > 1), None):
            raise InvalidValue(f"has the label '{repeated}' twice", "remove one")
        raw = {item: item for item in raw}
    if not raw:
        raise InvalidValue("must have at least one label")
    found = {}
    for label, texts in raw.items():
        several = (texts,) if isinstance(texts, str) else texts
        valid = isinstance(several, (list, tuple)) and all(isinstance(t, str) for t in several)
        if not valid or not several:
            raise InvalidValue(f"must have a text, or a list of texts, for '{label}'")
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
                f"has {str(text)!r}, which has no placeholder for the label",
                "write {} in its place, in quotes",
            )
    return tuple(map(str, raw))


_WORD = {"type": "string", "minLength": 1}
_TEXTS = {"type": "array", "items": _WORD}
Labels = Annotated[
    dict[str, tuple[str, ...]],
    BeforeValidator(_labels),
    WithJsonSchema(
        {
            "anyOf": [
                {**_TEXTS, "minItems": 1},
                {
                    "type": "object",
                    "minProperties": 1,
                    "additionalProperties": {"anyOf": [_WORD, _TEXTS]},
                },
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
    """Zero-shot classification: label images by texts, without training (CLIP).

    Each label is filled into the templates; their embeddings are normalised, averaged and
    normalised again; the cosines with the image, times the model's own factor, go through a softmax
    (Radford et al. 2021). With `multi` each label is scored independently: a SigLIP uses its own
    sigmoid, another CLIP the label's share against the `background`, as if both were equally
    likely, so that 0.5 is undecided. `unknown_below` labels an image `unknown` if the labels
    together have less than that share against the background (after NegLabel, Jiang et al. 2024);
    with `multi` or a SigLIP, if no single label reaches it.
    """

    example: ClassVar[Mapping[str, Any]] = {"labels": ["a cat", "a dog"]}

    model_config = ConfigDict(json_schema_extra=exactly_one("labels", "labels_file"))

    labels: Labels | None = Field(
        None, description="labels: a list, or a mapping of each label to its texts"
    )
    labels_file: InputFile | None = Field(
        None, description="text file with one label per line, instead of labels"
    )
    templates: Templates = Field(
        "auto",
        description="prompt templates, in which {} is the label, or a set: raw (only the label), "
        "simple (7), imagenet (80); auto: those that the perceptor recommends, else simple",
    )
    templates_file: InputFile | None = Field(
        None, description="text file with one template per line, instead of templates"
    )
    multi: bool = Field(
        False, description="score labels independently, as several or none may apply (multi-label)"
    )
    unknown_below: float | None = Field(
        None,
        ge=0,
        le=1,
        description="label images `unknown` if the probability that any label fits is below this",
    )
    background: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="captions of other things to compare with; by default the perceptor's bank, "
        "else 100 classes of ImageNet; captions close in meaning to a label are left out",
    )
    perceptor: str | None = Field(
        None, description="id of the perceptor to use; by default the first"
    )
    scale: float | None = Field(
        None,
        gt=0,
        description="factor on the cosines (logit scale); by default the perceptor's own",
    )

    @model_validator(mode="after")
    def _one_of_each(self) -> ZeroShot:
        if (self.labels is None) == (self.labels_file is None):
            raise ValueError("set either labels or labels_file")
        if self.templates_file is not None and self.templates != "auto":
            raise ValueError("set either templates or templates_file")
        return self

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """The perceptor must exist, and there must be labels to choose from."""
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
                yield Issue(name, *_message_and_hint(error))
                return
        labels = self.texts()
        if len(labels) < 2 and not self.multi and self.unknown_below is None:
            yield Issue(
                where,
                "a single label always wins",
                "add another, or set 'multi' or 'unknown_below'",
            )
        if self.unknown_below is not None and UNKNOWN in labels:
            yield Issue(
                where,
                f"the label '{UNKNOWN}' means that none fits",
                "choose another word, or remove 'unknown_below'",
            )

    def texts(self) -> dict[str, tuple[str, ...]]:
        """Label -> its texts; ValueError if the file has no valid labels."""
        return self.labels if self.labels is not None else _file(self.labels_file, _labels)

    def patterns(self) -> tuple[str, ...] | str:
        """The templates, or the name of a set; ValueError if the file has no valid templates."""
        path = self.templates_file
        result: tuple[str, ...] | str = self.templates if path is None else _file(path, _templates)
        return result

    def build(self, run: BuildContext) -> Any:
        """The classifier; see `pixweave_zeroshot.zero_shot_classifier`."""
        from pixweave_zeroshot.zero_shot_classifier import ZeroShotJudge

        return ZeroShotJudge(self, run)


def _file(path: Path | None, check: Callable[[list[str]], Any]) -> Any:
    """The lines of a file, validated by `check`; InvalidValue names the file."""
    from pixweave_zeroshot.templates import lines

    assert path is not None
    try:
        return check(lines(path))
    except InvalidValue as error:
        raise InvalidValue(f"the file '{path.name}' {error.message}", error.hint) from None


def _message_and_hint(error: ValueError) -> tuple[str, str]:
    return (error.message, error.hint) if isinstance(error, InvalidValue) else (str(error), "")
