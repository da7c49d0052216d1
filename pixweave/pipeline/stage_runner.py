"""Stages: a recipe that draws candidates, ranks, names, finds, sorts and indexes them, in turn.

Each stage gets the pictures that the last one left. Every candidate is a run folder of its own,
`candidates/seed-N`; a stage that judges leaves a table.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixweave.classification import sort_into_folders
from pixweave.classification.classify_images import Answer, answers_of, classify_inputs
from pixweave.embedding.embedder import Encoder
from pixweave.engine.context import Bench, open_bench
from pixweave.engine.ranking import Ranker
from pixweave.errors import MissingError, RunError, did_you_mean
from pixweave.loading import Fault, find_pictures
from pixweave.media import images, tables
from pixweave.pipeline.run_folder import Record
from pixweave.pipeline.runner import Event, Painting
from pixweave.recipe.stage_reader import still
from pixweave.search import Tally, is_index, open_index, pipeline_stage
from pixweave.search.index_store import open_store

if TYPE_CHECKING:
    from pixweave.recipe import Part, Recipe
    from pixweave.recipe.stage_reader import Stage
    from pixweave.search import Index


class Staging:
    """The performance of a recipe with stages; see `pixweave.pipeline.runner.Performance`."""

    def __init__(self, recipe: Recipe, folder: Path, stop: Callable[[], bool]) -> None:
        self.recipe, self.folder, self.stop = recipe, folder, stop
        self.status = "failed"
        self.pictures: list[str] = []
        """The pictures that go on, in their order."""
        self.outputs: list[Path] = []
        self.began = time.monotonic()
        self.steps_done = 0
        self.seeds = _seeds(recipe) if recipe.generates else []
        self.steps = recipe.steps * len(self.seeds)
        self._bench: Bench | None = None
        self._encoders: dict[Part, Encoder] = {}

    def events(self) -> Iterator[Event]:
        """What happens, stage by stage; an interrupted one is the last."""
        recipe = self.recipe
        about = {"recipe": recipe.name, "folder": str(self.folder), "size": list(recipe.size),
                 "steps": self.steps, "seed": recipe.seed}  # fmt: skip
        yield Event("planned", about)
        for problem in recipe.warnings:
            yield Event("warning", {"message": str(problem)})
        self.status = "done"
        for number, stage in enumerate(recipe.stages):
            if self.status != "done":
                break
            yield Event("stage", {"stage": number, "do": stage.do, "pictures": len(self.pictures)})
            yield from getattr(self, f"_{stage.do}")(stage)
        for path in (*map(Path, self.pictures), *self.outputs):
            yield Event("saved", {"path": str(path)})
        yield Event("result", {"ok": True, "status": self.status, **self.summary()})

    def summary(self) -> dict[str, Any]:
        """What `run.json` says at the end."""
        return {
            "folder": str(self.folder),
            "outputs": [*self.pictures, *map(str, self.outputs)],
            "seed": self.recipe.seed,
            "steps_done": self.steps_done,
            "steps": self.steps,
            "seconds": round(time.monotonic() - self.began, 3),
        }

    @property
    def bench(self) -> Bench:
        """The recipe's perceptors, built once for all stages and candidates."""
        if self._bench is None:
            made = (encoder.ready.items() for encoder in self._encoders.values())
            self._bench = open_bench(self.recipe, dict(chain.from_iterable(made)))
        return self._bench

    def _encoder(self, stage: Stage) -> Encoder:
        """The stage's own perceptor, else the recipe's first, for an index; built when needed."""
        part = (stage.parts.get("perceptors") or self.recipe.perceptors)[0]
        if part not in self._encoders:
            ready = self._bench.ready.get(part) if self._bench else None
            self._encoders[part] = Encoder(self.recipe, part, ready)
        return self._encoders[part]

    def _generate(self, _: Stage) -> Iterator[Event]:
        for number, seed in enumerate(self.seeds):
            place = self.folder / "candidates" / f"seed-{seed}"
            ready = finished(place, self.recipe, seed)
            if ready is None:
                if number and self.stop():
                    self.status = "interrupted"
                    return
                ready = []
                yield from self._draw(number, seed, place, ready)
            if self.status == "interrupted":
                return
            self.steps_done = (number + 1) * self.recipe.steps
            picture = still(ready)
            self.pictures.append(picture or next(iter(ready), str(place)))

    def _draw(self, number: int, seed: int, place: Path, made: list[str]) -> Iterator[Event]:
        """Draw one candidate, its steps told as steps of the whole; `made` gets its files."""
        recipe = replace(self.recipe, seed=seed, stages=(), warnings=())
        place.mkdir(parents=True, exist_ok=True)
        ready = self.bench.ready
        drawing, record = Painting(recipe, place, self.stop, ready), Record(place, recipe)
        before = number * recipe.steps
        try:
            for event in drawing.events():
                record.event(event.plain())
                if event.kind == "step":
                    self.steps_done = before + event.data["step"] + 1
                    told = {**event.data, "step": self.steps_done - 1, "steps": self.steps,
                            "candidate": number}  # fmt: skip
                    if "seconds" in told:
                        told["seconds"] = round(time.monotonic() - self.began, 3)
                    yield Event("step", told, event.frame)
                elif event.kind == "warning" or (event.kind in ("building", "started")
                                                 and not number):  # fmt: skip
                    yield event
        finally:
            record.finish(drawing.status, drawing.summary())
        made += map(str, drawing.outputs)
        self.status = "interrupted" if drawing.status == "interrupted" else "done"

    def _rank(self, stage: Stage) -> Iterator[Event]:
        self._take_in(stage)
        scored = []
        judge = Ranker(self.recipe, stage, self.bench)
        for path in self.pictures:
            if self.stop():
                self.status = "interrupted"
                return
            try:
                scored.append((judge(Path(path)), path))
            except MissingError as error:
                yield Event("warning", {"message": f"not ranked: {error}"})
        scored.sort(key=lambda pair: -pair[0])
        rows = [{"place": place, "score": round(score, 6), "path": self._short(path)}
                for place, (score, path) in enumerate(scored, 1)]  # fmt: skip
        self.pictures = [path for _, path in scored][: stage.settings.keep]
        self._write(stage.settings.file, rows, ("place", "score", "path"))
        yield Event("ranked", {"rows": rows, "kept": len(self.pictures)})

    def _classify(self, stage: Stage) -> Iterator[Event]:
        settings = stage.settings
        indexed = not self.pictures and any(map(is_index, settings.input))
        if not indexed:
            self._take_in(stage)
        live = self.bench.build(stage.parts["classifier"][0])
        for label in (*(settings.only or ()), *([settings.by] if settings.by else ())):
            if label not in (*live.labels, "unknown"):
                hint = did_you_mean(label, live.labels)
                raise RunError(f"{stage.mark}: the classifier has no label '{label}'; {hint}")
        found: list[Answer] = []
        answers = classify_inputs(live, settings.input, self.bench) if indexed \
            else answers_of(live, self.pictures, self.bench)  # fmt: skip
        answer: Answer | Fault | None = None
        for answer in answers:
            if isinstance(answer, Fault):
                said = f"no picture: {self._short(answer.path)}: {answer.reason}"
                yield Event("warning", {"message": said})
            else:
                found.append(answer)
            if self.stop():
                self.status = "interrupted"
                break
        if answer is None:
            raise self._none(stage)
        if settings.by:
            found.sort(key=lambda a: -dict(a.scores).get(settings.by, 0.0))
        rows = [self._row(answer, settings.top) for answer in found]
        names = list(rows[0]) if rows else ["path", "label", "score"]
        self._write(settings.file, rows, names)
        kept = [a for a in found if settings.only is None or a.label in settings.only]
        kept = kept[: settings.keep]
        self.pictures = [answer.path for answer in kept]
        yield Event("classified", {"rows": rows, "kept": len(kept)})
        if settings.sort_into:
            yield from self._sort(self.folder / settings.sort_into, kept, settings.how)

    def _index(self, stage: Stage) -> Iterator[Event]:
        self._take_in(stage)
        with open_index(stage.settings.index, self._encoder(stage), make=True) as index:
            yield from self._fill(index, self.pictures, stage.settings.tag)

    def _search(self, stage: Stage) -> Iterator[Event]:
        settings, query = stage.settings, stage.settings.asked()
        inputs = self.pictures or settings.input
        if not inputs and not settings.index:
            raise self._none(stage)
        seeker, encoder = stage.parts["searcher"][0].settings, self._encoder(stage)
        with pipeline_stage.somewhere(settings.index) as folder, \
                open_index(folder, encoder, bool(inputs), searcher=seeker) as index:  # fmt: skip
            if inputs:
                yield from self._fill(index, inputs)
            if self.status == "interrupted":
                return
            if not index.store.counts()[0]:
                raise self._none(stage)
            hits = index.search(query)
        given = {os.path.abspath(path): path for path in self.pictures}
        self.pictures = [given.get(hit.path, hit.path) for hit in hits]
        rows = [pipeline_stage.row(place, hit, self._short(path), query)
                for place, (hit, path) in enumerate(zip(hits, self.pictures, strict=True), 1)
                ]  # fmt: skip
        names = list(rows[0]) if rows else ["place", "score", "path"]
        self._write(settings.file, rows, names)
        pages = settings.sheet, settings.html
        self.outputs += pipeline_stage.write_pages(hits, self.folder, *pages, query.title)
        yield Event("searched", {"rows": rows, "kept": len(hits)})

    def _fill(self, index: Index, inputs: Sequence[str], tags: Sequence[str] = ()
              ) -> Iterator[Event]:  # fmt: skip
        """Bring an index up to date; what is no picture is told."""
        tally = Tally()
        for tally in pipeline_stage.fill(index, inputs, tags, self.stop):
            for fault in tally.faults:
                said = f"not indexed: {self._short(fault.path)}: {fault.reason}"
                yield Event("warning", {"message": said})
        if tally.stopped:
            self.status = "interrupted"
        told = {key: value for key, value in asdict(tally).items() if key != "faults"}
        yield Event("indexed", {"folder": str(index.store.folder), **told})

    def _sort(self, root: Path, kept: list[Answer], how: Any) -> Iterator[Event]:
        steps = sort_into_folders.plan(root, ((a.path, a.label) for a in kept), self._name)
        for step in sort_into_folders.carry_out(steps, how):
            said = f"not sorted: {self._short(str(step.source))}: '{step.target}' {step.clash}"
            yield Event("warning", {"message": said})

    def _name(self, path: Path) -> str:
        """Candidates have the same file name in different folders: their seed goes before it."""
        inside = path.parent.parent == self.folder / "candidates"
        return f"{path.parent.name}-{path.name}" if inside else path.name

    def _row(self, answer: Answer, top: int) -> dict[str, Any]:
        row: dict[str, Any] = {"path": self._short(answer.path), "label": answer.label,
                               "score": round(answer.score, 6)}  # fmt: skip
        if answer.known is not None:
            row["known"] = round(answer.known, 6)
        for number, (label, score) in enumerate(answer.scores[1:top], 2):
            row |= {f"label_{number}": label, f"score_{number}": round(score, 6)}
        return row

    def _take_in(self, stage: Stage) -> None:
        """The pictures that a first stage names; MissingError if there are none."""
        for item in () if self.pictures else stage.settings.input:
            if is_index(item):
                with open_store(item) as store:
                    self.pictures += store.whole()
            else:
                self.pictures += [found.path for found in find_pictures([item])]
        self.pictures = list(dict.fromkeys(self.pictures))
        if not self.pictures:
            raise self._none(stage)

    def _none(self, stage: Stage) -> MissingError:
        return MissingError(f"{stage.mark}: there is no picture for stage '{stage.do}'")

    def _write(self, file: str, rows: list[dict[str, Any]], names: Any) -> None:
        path = self.folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        images.write_whole(path, tables.whole(rows, names, path.suffix))
        self.outputs.append(path)

    def _short(self, path: str) -> str:
        inside = Path(path).is_relative_to(self.folder)
        return str(Path(path).relative_to(self.folder)) if inside else path


def finished(place: Path, recipe: Recipe, seed: int) -> list[str] | None:
    """The files of a candidate that was drawn to its end before by the same recipe; else None."""
    try:
        run = json.loads((place / "run.json").read_text("utf-8"))
        written = (place / "resolved.yaml").read_text("utf-8")
        outputs = [str(place / Path(str(name)).name) for name in run["outputs"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    same = written == replace(recipe, seed=seed, stages=(), warnings=()).resolved_yaml()
    there = run.get("status") == "done" and all(Path(name).exists() for name in outputs)
    return outputs if same and there and outputs else None


def _seeds(recipe: Recipe) -> list[int]:
    wish = recipe.stages[0].settings.seeds
    return [recipe.seed + i for i in range(wish)] if isinstance(wish, int) else list(wish)
