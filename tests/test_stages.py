"""Recipes of several stages: candidates drawn, ranked, named, sorted, and taken up again."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from pixweave import MissingError, Recipe, RecipeError, RunError, load_text, open_run
from pixweave.engine.ranking import Ranker
from pixweave.events import Event
from pixweave.pipeline.runner import perform
from pixweave.testing import plugins_of

PLUGINS = plugins_of()
BASE: dict[str, Any] = {
    "pixweave": 1,
    "size": [24, 24],
    "steps": 3,
    "device": "cpu",
    "perceptors": ["fake"],
    "generator": {"use": "pixel", "grid": [12, 12]},
    "prompts": ["red"],
    "losses": [],
    "augmentations": [],
    "crops": {"count": 4},
    "export": ["a.png"],
    "seed": 5,
}
COLOURS = ["red", "blue", "green"]


def recipe(folder: Path, text: dict[str, Any]) -> Recipe:
    return load_text(json.dumps(text), "stages.yaml", folder, PLUGINS)


def staged(folder: Path, *stages: Any, **keys: Any) -> Recipe:
    return recipe(folder, {**BASE, **keys, "stages": list(stages)})


def judged(folder: Path, *stages: Any) -> Recipe:
    """A recipe that only looks at pictures of `folder`."""
    return recipe(
        folder, {"pixweave": 1, "device": "cpu", "perceptors": ["fake"], "stages": list(stages)}
    )


def run(made: Recipe, out: Path) -> list[Event]:
    out.mkdir(exist_ok=True)
    return list(perform(made, out))


def saved(events: list[Event]) -> list[Path]:
    return [Path(e.data["path"]) for e in events if e.kind == "saved"]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def swatches(tmp_path: Path) -> Path:
    """Pictures of plain colours."""
    for name in COLOURS:
        Image.new("RGB", (24, 24), name).save(tmp_path / f"{name}.png")
    return tmp_path


def test_candidates_are_what_single_runs_of_their_seeds_draw(tmp_path: Path) -> None:
    events = run(staged(tmp_path, {"do": "generate", "seeds": 2}), tmp_path / "out")
    assert [e.kind for e in events if e.kind != "step"] == [
        "planned",
        "stage",
        "building",
        "started",
        "saved",
        "saved",
        "result",
    ]
    steps = [e.data for e in events if e.kind == "step"]
    assert [(s["step"], s["steps"]) for s in steps] == [(i, 6) for i in range(6)]
    assert [p.relative_to(tmp_path) for p in saved(events)] == [
        Path(f"out/candidates/seed-{seed}/a.png") for seed in (5, 6)
    ]
    (tmp_path / "one").mkdir()
    list(perform(recipe(tmp_path, {**BASE, "seed": 6}), tmp_path / "one"))
    with Image.open(tmp_path / "one" / "a.png") as a, Image.open(saved(events)[1]) as b:
        assert a.tobytes() == b.tobytes()
    ended = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (ended["status"], ended["steps_done"], ended["steps"]) == ("done", 6, 6)
    assert ended["outputs"] == [str(path) for path in saved(events)]


def test_rank_orders_pictures_by_a_loss_with_its_sign_turned(swatches: Path) -> None:
    stage = {"do": "rank", "input": ["*.png"], "prompts": ["blue"], "keep": 2}
    events = run(judged(swatches, stage), swatches / "out")
    rows = table(swatches / "out" / "ranking.csv")
    assert [row["place"] for row in rows] == ["1", "2", "3"]
    assert rows[0]["path"] == str(swatches / "blue.png")
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert [str(p) for p in saved(events)] == [
        rows[0]["path"],
        rows[1]["path"],
        str(swatches / "out" / "ranking.csv"),
    ]


def test_a_rank_is_the_loss_that_a_run_would_have(tmp_path: Path) -> None:
    Image.new("RGB", (24, 24), "red").save(tmp_path / "red.png")
    made = staged(tmp_path, "generate", {"do": "rank", "prompts": [{"text": "blue", "weight": 2}]})
    drawn = open_run(recipe(tmp_path, {**BASE, "prompts": ["blue"]}))
    drawn.generator.start_from(torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1).expand(1, 3, 24, 24))
    view = drawn.look(2)
    want = -2 * float(drawn.losses[0](view).detach())
    stage: Any = made.stages[1].settings
    score = Ranker(made, stage.losses)(tmp_path / "red.png")
    assert score == pytest.approx(want, abs=1e-3)
    assert torch.is_grad_enabled()


def test_classify_names_keeps_orders_and_sorts(swatches: Path) -> None:
    (swatches / "bad.png").write_bytes(b"no picture")
    stage = {
        "do": "classify",
        "input": ["*.png"],
        "labels": COLOURS,
        "top": 2,
        "only": ["red", "blue"],
        "by": "blue",
        "sort_into": "sorted",
    }
    events = run(judged(swatches, stage), swatches / "out")
    rows = table(swatches / "out" / "labels.csv")
    assert {Path(row["path"]).stem: row["label"] for row in rows} == {c: c for c in COLOURS}
    assert Path(rows[0]["path"]).stem == "blue"
    assert list(rows[0]) == ["path", "label", "score", "label_2", "score_2"]
    assert [p.name for p in saved(events)] == ["blue.png", "red.png", "labels.csv"]
    inside = sorted(
        p.relative_to(swatches / "out").as_posix()
        for p in (swatches / "out" / "sorted").rglob("*.png")
    )
    assert inside == ["sorted/blue/blue.png", "sorted/red/red.png"]
    assert [e.data["message"] for e in events if e.kind == "warning"] == [
        f"not an image: {swatches}/bad.png: this is not an image in a supported format"
    ]


def test_do_on_top_is_short_for_one_stage(swatches: Path) -> None:
    body = {"pixweave": 1, "device": "cpu", "perceptors": ["fake"]}
    stage = {"input": ["red.png"], "labels": COLOURS, "unknown_below": 0.2}
    short = recipe(swatches, {**body, "do": "classify", **stage})
    assert short == recipe(swatches, {**body, "stages": [{"do": "classify", **stage}]})
    assert short == load_text(short.resolved_yaml(), "again.yaml", swatches, PLUGINS)
    assert "generator" not in short.resolved()
    assert {p: v for p, v, _ in short.explain("stages")}["stages.0.top"] == 1


def test_stages_follow_each_other_and_survive_a_round_trip(tmp_path: Path) -> None:
    made = staged(
        tmp_path,
        {"do": "generate", "seeds": [3, 1]},
        {"do": "rank", "losses": ["saturation"], "keep": 1},
        {"do": "classify", "labels": COLOURS, "sort_into": "sorted"},
    )
    assert made == load_text(made.resolved_yaml(), "again.yaml", tmp_path, PLUGINS)
    events = run(made, tmp_path / "out")
    assert [p.name for p in saved(events)] == ["a.png", "ranking.csv", "labels.csv"]
    (row,) = table(tmp_path / "out" / "labels.csv")
    best = table(tmp_path / "out" / "ranking.csv")[0]["path"]
    assert row["path"] == best
    seed = Path(best).parent.name
    assert (tmp_path / "out" / "sorted" / row["label"] / f"{seed}-a.png").is_file()


def test_a_run_that_was_stopped_goes_on_where_it_was(tmp_path: Path) -> None:
    made = staged(tmp_path, {"do": "generate", "seeds": 3}, {"do": "rank", "prompts": ["red"]})
    out = tmp_path / "out"
    out.mkdir()
    count = 0

    def stop() -> bool:
        nonlocal count
        count += 1
        return count == 4  # in the second candidate

    events = list(perform(made, out, stop))
    assert events[-1].data["status"] == "interrupted"
    assert events[-1].data["steps_done"] == 4
    assert not (out / "ranking.csv").exists()
    first = (out / "candidates" / "seed-5" / "run.json").stat().st_mtime_ns
    again = list(perform(made, out))
    assert (out / "candidates" / "seed-5" / "run.json").stat().st_mtime_ns == first
    assert [e.data["step"] for e in again if e.kind == "step"] == [3, 4, 5, 6, 7, 8]
    assert len(table(out / "ranking.csv")) == 3
    changed = staged(tmp_path, {"do": "generate", "seeds": 1}, steps=2)
    redone = list(perform(changed, out))
    assert len([e for e in redone if e.kind == "step"]) == 2  # another recipe: drawn anew


def test_perceptors_are_built_once_for_all_candidates(tmp_path: Path, built: list[Any]) -> None:
    stages = [
        {"do": "generate", "seeds": 3},
        {"do": "rank", "prompts": ["red"]},
        {"do": "classify", "labels": COLOURS},
    ]
    run(staged(tmp_path, *stages), tmp_path / "out")
    assert len(built) == 1


def issues(folder: Path, *stages: Any, **keys: Any) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        recipe(folder, {"pixweave": 1, **keys, "stages": list(stages)})
    return [f"{p.message}; {p.hint}".removesuffix("; ") for p in caught.value.issues]


def test_what_stages_cannot_do_is_refused(swatches: Path) -> None:
    rank = {"do": "rank", "prompts": ["red"]}
    assert issues(swatches, {"do": "rnak"}) == ["stage 'rnak' is not known; did you mean 'rank'?"]
    assert issues(swatches, rank) == [
        "stage 'rank' is the first stage and has no input; add 'input: [photos/]', or a stage "
        "'generate' before it"
    ]
    assert issues(swatches, {**rank, "input": ["rde.png"]}) == [
        "'input' of stage 'rank' names 'rde.png', which does not exist; did you mean 'red.png'?"
    ]
    assert issues(swatches, "generate", {**rank, "input": ["red.png"]}, prompts=["red"]) == [
        "'input' of stage 'rank' is not used: it gets the images of the previous stage; remove it"
    ]
    assert issues(swatches, {**rank, "input": ["red.png"]}, "generate", prompts=["red"]) == [
        "'prompts' is not used: no stage generates; remove it, or add a stage 'generate'",
        "'generate' must be the first stage",
    ]
    assert issues(swatches, {**rank, "input": ["red.png"]}, steps=3) == [
        "'steps' is not used: no stage generates; remove it, or add a stage 'generate'"
    ]
    assert issues(swatches, {"do": "rank", "input": ["red.png"]}) == [
        "stage 'rank' needs prompts or losses; add 'losses: ...' (losses to rank by, in "
        "addition to the prompts)"
    ]
    assert issues(swatches, {"do": "classify", "input": ["red.png"]}) == [
        "stage 'classify' needs 'classifier', or settings of 'zero_shot'; add 'classifier: ...' "
        "(classifier; instead of it, the settings of `zero_shot` can be written directly in "
        "the stage)"
    ]
    assert issues(swatches, "generate", rank, prompts=["red"], export=["a.gif"]) == [
        "the stages after 'generate' have no image to work on; export one, such as picture.png"
    ]
    assert issues(swatches, {"do": "generate", "seeds": 0}, prompts=["red"]) == [
        "'seeds' of stage 'generate' must be a number (1 to 100000) or a list of seeds, not 0"
    ]
    classify = {"do": "classify", "input": ["red.png"], "labels": ["a", "b"]}
    assert issues(swatches, {**classify, "sort_into": "../out"}) == [
        "stage 'classify': '../out' is outside the run folder; use a plain file name; --out "
        "chooses the folder"
    ]
    assert issues(swatches, {**classify, "file": "a.txt"}) == [
        "'file' of stage 'classify' must be the name of a file in the run folder, not 'a.txt'; "
        "use the extension .csv, .tsv or .jsonl"
    ]


def test_a_label_that_is_not_there_and_no_pictures_are_told(swatches: Path) -> None:
    stage = {"do": "classify", "input": ["*.png"], "labels": COLOURS, "by": "rde"}
    with pytest.raises(RunError) as caught:
        run(judged(swatches, stage), swatches / "out")
    assert str(caught.value).endswith("the classifier has no label 'rde'; did you mean 'red'?")
    (swatches / "empty").mkdir()
    with pytest.raises(MissingError) as missing:
        run(judged(swatches, {**stage, "input": ["empty"]}), swatches / "out2")
    assert str(missing.value).endswith("no images for stage 'classify'")
