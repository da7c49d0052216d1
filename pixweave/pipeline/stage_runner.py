"""StageRunner: runs a recipe with stages, each with the images of the previous one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pixweave.borders.checked_stage import CheckedStage
from pixweave.borders.guard import full_name
from pixweave.borders.wording import not_a
from pixweave.component import Part
from pixweave.engine.context import Context, Prebuilt
from pixweave.errors import PartError
from pixweave.events import Event
from pixweave.media import tables
from pixweave.media.atomic_write import write_whole
from pixweave.protocols import Perceptor
from pixweave.recipe import Recipe
from pixweave.recipe.output_files import fault_of_output


class StageContext:
    """What a stage's `build(run)` gets: a BuildContext, and methods to write to the run folder.

    There is no generator and no canvas; the recipe's perceptors are built on first access.
    """

    def __init__(self, part: Part, runner: StageRunner) -> None:
        self.part, self._runner = part, runner
        context = runner.context
        self.recipe, self.device, self.dtype = context.recipe, context.device, context.dtype
        self.size, self.folder, self.metadata = context.size, context.folder, context.metadata
        self.text_only = False
        self.prebuilt: Prebuilt = context.prebuilt

    @property
    def perceptors(self) -> Mapping[str, Perceptor]:
        """The recipe's perceptors by id."""
        self._runner.context.build_perceptors()
        return self._runner.context.perceptors

    @property
    def generator(self) -> Any:
        """Not available in a stage: raises AttributeError."""
        raise AttributeError(f"{self.part.name} has no generator")

    @property
    def canvas(self) -> Any:
        """Not available in a stage: raises AttributeError."""
        raise AttributeError(f"{self.part.name} has no canvas")

    @property
    def context(self) -> Context:
        """The context that builds parts, with the recipe's perceptors built."""
        self._runner.context.build_perceptors()
        return self._runner.context

    def rng(self, name: str, step: int | None = None) -> Any:
        """A fresh CPU generator for a named purpose."""
        return self._runner.context.rng(name, step)

    def make(self, part: Part) -> Any:
        """Build a part that is a setting of the stage."""
        return self.context.build(part)

    def encode_texts(self, perceptor: str, texts: Sequence[str]) -> Any:
        """Unit vectors float32 `[P, D]` of texts."""
        return self.context.encode_texts(perceptor, texts)

    def stop(self) -> bool:
        """Whether the user asked to stop; the stage then returns what is finished, and is the last.

        Once this has returned True, the run's status is interrupted.
        """
        return self._runner.ask_stop()

    def interrupt(self) -> None:
        """Mark the run as interrupted: this stage is the last."""
        self._runner.interrupted = True

    def output(self, file: str) -> Path:
        """A path in the run folder for a file that the stage writes, listed as an output.

        PartError if the name is not one of a file in the run folder, or is one that the run uses.
        """
        if fault := fault_of_output(file):
            raise PartError(full_name(self.part), f"wants to write a file, but {fault}")
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        self._runner.outputs.append(path)
        return path

    def save_table(
        self, file: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]
    ) -> Path:
        """Write rows as a .csv, .tsv or .jsonl file in the run folder, listed as an output."""
        path = self.output(file)
        write_whole(path, tables.whole(rows, columns, path.suffix))
        return path

    def relative(self, path: str) -> str:
        """A path relative to the run folder if it is inside, else unchanged."""
        inside = Path(path).is_relative_to(self.folder)
        return str(Path(path).relative_to(self.folder)) if inside else path


class StageRunner:
    """Runs the stages of a recipe in order; `status` is done, interrupted or failed."""

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        stop: Callable[[], bool],
        prebuilt: Prebuilt | None = None,
    ) -> None:
        self.recipe, self.folder, self._stop = recipe, folder, stop
        self.context = Context(recipe, folder, prebuilt)
        self.status, self.interrupted = "failed", False
        self.pictures: list[str] = []
        """The images for the next stage, in order."""
        self.outputs: list[Path] = []
        self.began = time.monotonic()
        self.steps_done = 0
        self.steps = sum(self._count_steps(stage) for stage in recipe.stages)

    def events(self) -> Iterator[Event]:
        """Run the stages; yield events as they happen. An interrupted stage is the last."""
        recipe = self.recipe
        yield Event(
            "planned",
            {
                "recipe": recipe.name,
                "folder": str(self.folder),
                "size": list(recipe.size),
                "steps": self.steps,
                "seed": recipe.seed,
            },
        )
        for issue in recipe.warnings:
            yield Event("warning", {"message": str(issue)})
        for number, part in enumerate(recipe.stages):
            if self.interrupted:
                break
            data = {"stage": number, "do": part.use, "pictures": len(self.pictures)}
            yield Event("stage", data)
            yield from self._run(part)
        self.status = "interrupted" if self.interrupted else "done"
        for path in (*map(Path, self.pictures), *self.outputs):
            yield Event("saved", {"path": str(path)})
        yield Event("result", {"ok": True, "status": self.status, **self.summary()})

    def _run(self, part: Part) -> Iterator[Event]:
        with self.context.guard(part):
            built = part.settings.build(StageContext(part, self))
        stage = CheckedStage(part, built, self.context.host)
        events = stage.events(tuple(self.pictures))
        try:
            for event in events:
                if event.kind == "step":
                    self.steps_done = event.data["step"] + 1
                yield from self._warnings()
                yield event
        finally:
            events.close()
        self.pictures = stage.pictures
        yield from self._warnings()

    def _warnings(self) -> Iterator[Event]:
        """The warnings that parts have caused since the last time."""
        for message in self.context.take_warnings():
            yield Event("warning", {"message": message})

    def _count_steps(self, part: Part) -> int:
        with self.context.guard(part):
            count = part.settings.count_steps(self.recipe)
        if not isinstance(count, int):
            raise PartError(full_name(part), f"{not_a(count, 'a whole number')} from count_steps()")
        return count

    def ask_stop(self) -> bool:
        """Whether the user asked to stop; once this has returned True, the run is interrupted."""
        self.interrupted = self.interrupted or self._stop()
        return self.interrupted

    def summary(self) -> dict[str, Any]:
        """The summary for `run.json`."""
        return {
            "folder": str(self.folder),
            "outputs": [*self.pictures, *map(str, self.outputs)],
            "seed": self.recipe.seed,
            "steps_done": self.steps_done,
            "steps": self.steps,
            "seconds": round(time.monotonic() - self.began, 3),
        }
