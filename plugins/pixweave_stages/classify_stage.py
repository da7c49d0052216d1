"""Stage `classify`: label images with a classifier, then select and sort them by label."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pixweave import Component, Field, Part, PartOf, RunError
from pixweave.errors import did_you_mean
from pixweave.recipe.path_types import FolderName, Inputs, TableName
from pixweave_stages.stage_inputs import INPUT, no_images, take_images

if TYPE_CHECKING:
    from pixweave.classification.prediction_table import Prediction
    from pixweave.events import Event
    from pixweave.pipeline.stage_runner import StageContext


class ClassifyStage(Component):
    """Label images with a classifier; pass on all of them, or those with certain labels."""

    example: ClassVar[Mapping[str, Any]] = {
        "classifier": {"use": "zero_shot", "labels": ["a cat", "a dog"]}
    }

    input: Inputs = Field((), description=INPUT)
    top: int = Field(1, ge=1, description="number of labels per image in the table")
    only: tuple[str, ...] | None = Field(
        None, min_length=1, description="pass on only images with these labels"
    )
    by: str | None = Field(None, description="sort images by their score for this label")
    keep: int | None = Field(None, ge=1, description="number of images to pass on; by default all")
    sort_into: FolderName | None = Field(
        None, description="folder inside the run folder to sort images into, one folder per label"
    )
    how: Literal["copy", "link"] = Field(
        "copy", description="copy images to sort_into, or link them"
    )
    file: TableName = Field("labels.csv", description="table of labels and scores")
    classifier: Part = PartOf(
        "classifier",
        inline="zero_shot",
        description="classifier; instead of it, the settings of `zero_shot` can be written "
        "directly in the stage",
    )

    def build(self, run: StageContext) -> Any:
        """The stage: a generator function that labels the images one by one."""
        from pixweave.classification.classify_images import classify_files, classify_inputs
        from pixweave.classification.prediction_table import prediction_row
        from pixweave.events import Event
        from pixweave.loading import UnreadableImage
        from pixweave.search import is_index

        def classify(previous: Sequence[str]) -> Generator[Event, None, list[str]]:
            indexed = not previous and any(map(is_index, self.input))
            images = [] if indexed else take_images(run.part, previous, self.input)
            classifier = run.make(self.classifier)
            self._check_labels(classifier.labels, run.part)
            readable: list[Prediction] = []
            predictions = (
                classify_inputs(classifier, self.input, run.context)
                if indexed
                else classify_files(classifier, images, run.context)
            )
            prediction: Prediction | UnreadableImage | None = None
            for prediction in predictions:
                if isinstance(prediction, UnreadableImage):
                    path = run.relative(prediction.path)
                    message = f"not an image: {path}: {prediction.reason}"
                    yield Event("warning", {"message": message})
                else:
                    readable.append(prediction)
                if run.stop():
                    break
            if prediction is None:
                raise no_images(run.part)
            if self.by:
                readable.sort(key=lambda p: -dict(p.scores).get(self.by or "", 0.0))
            rows = [prediction_row(p, self.top, path=run.relative(p.path)) for p in readable]
            columns = list(rows[0]) if rows else ["path", "label", "score"]
            run.save_table(self.file, rows, columns)
            kept = [p for p in readable if self.only is None or p.label in self.only][: self.keep]
            yield Event("classified", {"rows": rows, "kept": len(kept)})
            if self.sort_into:
                yield from self._sort(run, kept)
            return [prediction.path for prediction in kept]

        return classify

    def _check_labels(self, labels: Sequence[str], part: Part) -> None:
        for label in (*(self.only or ()), *([self.by] if self.by else ())):
            if label not in (*labels, "unknown"):
                hint = did_you_mean(label, labels)
                raise RunError(f"{part.mark}: the classifier has no label '{label}'; {hint}")

    def _sort(self, run: StageContext, kept: Sequence[Prediction]) -> Iterator[Event]:
        from pixweave.classification.sort_into_folders import carry_out, plan_moves
        from pixweave.events import Event

        def name(path: Path) -> str:
            """A unique name: candidates of `generate` share a file name, so prepend the seed."""
            inside = path.parent.parent == run.folder / "candidates"
            return f"{path.parent.name}-{path.name}" if inside else path.name

        root = run.folder / str(self.sort_into)
        moves = plan_moves(root, ((p.path, p.label) for p in kept), name)
        for move in carry_out(moves, self.how):
            source = run.relative(str(move.source))
            message = f"not sorted: {source}: '{move.target}' {move.clash}"
            yield Event("warning", {"message": message})
