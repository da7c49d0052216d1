"""Stage `generate`: draw the recipe's image for one or more seeds."""

from __future__ import annotations

import json
import time
from collections.abc import Generator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, WithJsonSchema

from pixweave import Component, Field, InvalidValue

if TYPE_CHECKING:
    from pixweave.component import RecipeInfo
    from pixweave.events import Event
    from pixweave.pipeline.stage_runner import StageContext
    from pixweave.recipe import Recipe


def _read_seeds(raw: Any) -> int | tuple[int, ...]:
    if isinstance(raw, (list, tuple)):
        if not raw or not all(_is_seed(item) for item in raw):
            raise InvalidValue("must be a list of whole numbers of at least 0")
        if len(set(raw)) < len(raw):
            raise InvalidValue("contains a seed twice")
        return tuple(raw)
    if not _is_seed(raw) or not 1 <= raw <= 100_000:
        raise InvalidValue(f"must be a number (1 to 100000) or a list of seeds, not {raw!r}")
    return int(raw)


def _is_seed(raw: Any) -> bool:
    return isinstance(raw, int) and not isinstance(raw, bool) and 0 <= raw < 2**63


_WHOLE = {"type": "integer", "minimum": 0, "maximum": 2**63 - 1}
Seeds = Annotated[
    Any,
    BeforeValidator(_read_seeds),
    WithJsonSchema(
        {
            "anyOf": [
                {**_WHOLE, "minimum": 1, "maximum": 100_000},
                {"type": "array", "items": _WHOLE, "minItems": 1, "uniqueItems": True},
            ],
            "x-type": "whole number | list of seeds",
        }
    ),
]


class GenerateStage(Component):
    """Draw the recipe's image for one or more seeds, each in `candidates/seed-N`."""

    can: ClassVar[frozenset[str]] = frozenset({"draw"})

    seeds: Seeds = Field(
        1,
        description="number of candidates, with consecutive seeds from the recipe's seed on; or a "
        "list of seeds",
    )

    def listed(self, recipe: RecipeInfo) -> list[int]:
        """The seeds, one for each candidate."""
        if isinstance(self.seeds, int):
            return [recipe.seed + i for i in range(self.seeds)]
        return list(self.seeds)

    def count_steps(self, recipe: RecipeInfo) -> int:
        """The steps of all candidates."""
        return recipe.steps * len(self.listed(recipe))

    def build(self, run: StageContext) -> Any:
        """The stage: a generator function that draws the candidates one by one."""
        from pixweave.events import Event

        seeds, recipe = self.listed(run.recipe), run.recipe

        def generate(_: Sequence[str]) -> Generator[Event, None, list[str]]:
            began, images = time.monotonic(), list[str]()
            for number, seed in enumerate(seeds):
                folder = run.folder / "candidates" / f"seed-{seed}"
                files = finished(folder, recipe, seed)
                if files is None:
                    if number and run.stop():
                        return images
                    files = yield from draw(number, seed, folder, began)
                if files is None:
                    return images
                images.append(still_image(files) or next(iter(files), str(folder)))
            return images

        def draw(
            number: int, seed: int, folder: Path, began: float
        ) -> Generator[Event, None, list[str] | None]:
            """Draw one candidate and return its files; None if it was interrupted.

            Its step events are renumbered as steps of the whole stage.
            """
            from pixweave.pipeline.image_runner import ImageRunner
            from pixweave.pipeline.run_folder import RunFolder

            alone = replace(recipe, seed=seed, stages=(), warnings=())
            folder.mkdir(parents=True, exist_ok=True)
            runner = ImageRunner(alone, folder, run.stop, run.prebuilt)
            run_folder = RunFolder(folder, alone)
            total = recipe.steps * len(seeds)
            try:
                for event in runner.events():
                    run_folder.record_event(event.plain())
                    if event.kind == "step":
                        step = number * recipe.steps + event.data["step"]
                        data = {**event.data, "step": step, "steps": total, "candidate": number}
                        if "seconds" in data:
                            data["seconds"] = round(time.monotonic() - began, 3)
                        yield Event("step", data, event.frame)
                    elif event.kind == "warning" or (
                        event.kind in ("building", "started") and not number
                    ):
                        yield event
            finally:
                run_folder.finish(runner.status, runner.summary())
            return None if runner.status == "interrupted" else [str(p) for p in runner.outputs]

        return generate


def finished(folder: Path, recipe: Recipe, seed: int) -> list[str] | None:
    """The files of a candidate that an earlier run of the same recipe finished; else None."""
    try:
        run = json.loads((folder / "run.json").read_text("utf-8"))
        written = (folder / "resolved.yaml").read_text("utf-8")
        outputs = [str(folder / Path(str(name)).name) for name in run["outputs"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    same = written == replace(recipe, seed=seed, stages=(), warnings=()).resolved_yaml()
    complete = run.get("status") == "done" and all(Path(name).exists() for name in outputs)
    return outputs if same and complete and outputs else None


def still_image(files: Sequence[str]) -> str | None:
    """The first exported file that a later stage can read; None if there is none."""
    from pixweave.recipe.stage_reader import STILL

    return next((file for file in files if file.lower().endswith(STILL)), None)
