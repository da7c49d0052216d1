"""Stage `rank`: sort images by score, best first."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pixweave import Component, Field, MissingError, Part, PartOf
from pixweave.recipe.path_types import Inputs, TableName
from pixweave_stages.stage_inputs import INPUT, take_images

if TYPE_CHECKING:
    from pixweave.events import Event
    from pixweave.pipeline.stage_runner import StageContext


class RankStage(Component):
    """Sort images by prompts and losses: score = negative weighted loss, best first."""

    example: ClassVar[Mapping[str, Any]] = {"losses": ["smoothness"]}

    input: Inputs = Field((), description=INPUT)
    keep: int | None = Field(None, ge=1, description="number of images to pass on; by default all")
    file: TableName = Field("ranking.csv", description="table of ranks and scores")
    losses: tuple[Part, ...] = PartOf(
        "loss", many=True, description="losses to rank by, in addition to the prompts"
    )
    perceptors: tuple[Part, ...] = PartOf(
        "perceptor",
        many=True,
        default=None,
        description="perceptors that embed the images; by default the recipe's",
    )

    def build(self, run: StageContext) -> Any:
        """The stage: a generator function that scores the images one by one."""
        from pixweave.engine.ranking import Ranker
        from pixweave.events import Event

        def rank(previous: Sequence[str]) -> Generator[Event, None, list[str]]:
            images = take_images(run.part, previous, self.input)
            ranker = Ranker(run.recipe, self.losses, self.perceptors, run.prebuilt)
            scored = []
            for path in images:
                if run.stop():
                    return images
                try:
                    scored.append((ranker(Path(path)), path))
                except MissingError as error:
                    yield Event("warning", {"message": f"not ranked: {error}"})
            scored.sort(key=lambda pair: -pair[0])
            rows = [
                {"place": place, "score": round(score, 6), "path": run.relative(path)}
                for place, (score, path) in enumerate(scored, 1)
            ]
            kept = [path for _, path in scored][: self.keep]
            run.save_table(self.file, rows, ("place", "score", "path"))
            yield Event("ranked", {"rows": rows, "kept": len(kept)})
            return kept

        return rank
