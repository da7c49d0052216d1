"""Stage `classify`: pictures named by a classifier, chosen and sorted by their labels."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pixweave import Component, Field, Part, PartOf, RunError
from pixweave.errors import did_you_mean
from pixweave.recipe.path_types import FolderName, Inputs, TableName
from pixweave_stages.stage_inputs import INPUT, no_pictures, take_pictures

if TYPE_CHECKING:
    from pixweave.classification.prediction_table import Prediction
    from pixweave.events import Event
    from pixweave.pipeline.stage_runner import StageContext


class ClassifyStage(Component):
    """Name the pictures by a classifier; go on with all, or those of the labels that are wanted."""

    input: Inputs = Field((), description=INPUT)
    top: int = Field(1, ge=1, description="how many labels the table has for each picture")
    only: tuple[str, ...] | None = Field(
        None, min_length=1, description="go on with the pictures of these labels alone"
    )
    by: str | None = Field(None, description="order them by the score of this label")
    keep: int | None = Field(None, ge=1, description="how many go on; by default all")
    sort_into: FolderName | None = Field(
        None, description="folder, in the run folder, with a folder of pictures for each label"
    )
    how: Literal["copy", "link"] = Field("copy", description="how pictures come into it")
    file: TableName = Field("labels.csv", description="table of labels and scores")
    classifier: Part = PartOf(
        "classifier",
        inline="zero_shot",
        description="what names the pictures; settings of `zero_shot` may stand in the stage "
        "instead",
    )

    def build(self, run: StageContext) -> Any:
        """A function that names one picture after the other."""
        from pixweave.classification.classify_images import classify_files, classify_inputs
        from pixweave.classification.prediction_table import prediction_row
        from pixweave.events import Event
        from pixweave.loading import UnreadableImage
        from pixweave.search import is_index

        def classify(came: Sequence[str]) -> Generator[Event, None, list[str]]:
            indexed = not came and any(map(is_index, self.input))
            pictures = [] if indexed else take_pictures(run.part, came, self.input)
            classifier = run.make(self.classifier)
            self._check_labels(classifier.labels, run.part)
            found: list[Prediction] = []
            predictions = (
                classify_inputs(classifier, self.input, run.context)
                if indexed
                else classify_files(classifier, pictures, run.context)
            )
            prediction: Prediction | UnreadableImage | None = None
            for prediction in predictions:
                if isinstance(prediction, UnreadableImage):
                    path = run.relative(prediction.path)
                    message = f"not a picture: {path}: {prediction.reason}"
                    yield Event("warning", {"message": message})
                else:
                    found.append(prediction)
                if run.stop():
                    break
            if prediction is None:
                raise no_pictures(run.part)
            if self.by:
                found.sort(key=lambda p: -dict(p.scores).get(self.by or "", 0.0))
            rows = [prediction_row(p, self.top, path=run.relative(p.path)) for p in found]
            columns = list(rows[0]) if rows else ["path", "label", "score"]
            run.save_table(self.file, rows, columns)
            kept = [p for p in found if self.only is None or p.label in self.only][: self.keep]
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
            """Candidates have the same file name in different folders: their seed goes first."""
            inside = path.parent.parent == run.folder / "candidates"
            return f"{path.parent.name}-{path.name}" if inside else path.name

        root = run.folder / str(self.sort_into)
        moves = plan_moves(root, ((p.path, p.label) for p in kept), name)
        for move in carry_out(moves, self.how):
            source = run.relative(str(move.source))
            message = f"not sorted: {source}: '{move.target}' {move.clash}"
            yield Event("warning", {"message": message})
