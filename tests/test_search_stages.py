"""The stages `index` and `search` of a recipe."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pixweave import MissingError, Recipe, RecipeError, RunError, load_text
from pixweave.events import Event
from pixweave.pipeline.runner import perform
from pixweave.search import Filters, Query, Term, open_index
from pixweave.testing import plugins_of

PLUGINS = plugins_of()
BODY: dict[str, Any] = {"pixweave": 1, "device": "cpu", "perceptors": ["fake"]}
DRAWN: dict[str, Any] = {
    **BODY,
    "size": [24, 24],
    "steps": 3,
    "generator": {"use": "pixel", "grid": [12, 12]},
    "prompts": ["red"],
    "losses": [],
    "augmentations": [],
    "crops": {"count": 4},
    "export": ["a.png"],
    "seed": 5,
}


def recipe(folder: Path, *stages: Any, **keys: Any) -> Recipe:
    text = json.dumps({**BODY, **keys, "stages": list(stages)})
    return load_text(text, "stages.yaml", folder, PLUGINS)


def run(made: Recipe, out: Path, stop: Any = lambda: False) -> list[Event]:
    out.mkdir(exist_ok=True)
    return list(perform(made, out, stop))


def saved(events: list[Event]) -> list[str]:
    return [Path(e.data["path"]).name for e in events if e.kind == "saved"]


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def swatches(tmp_path: Path) -> Path:
    """Pictures of plain colours, in a folder of their own."""
    (tmp_path / "pics").mkdir()
    for name in ("red", "blue", "green", "orange"):
        Image.new("RGB", (24, 24), name).save(tmp_path / "pics" / f"{name}.png")
    return tmp_path


def test_a_search_in_a_recipe_is_the_verbs_search(swatches: Path) -> None:
    stage = {
        "do": "search",
        "index": "album",
        "input": ["pics"],
        "query": ["red"],
        "minus": ["green"],
        "top": 3,
        "sheet": "s.png",
        "html": "p.html",
    }
    events = run(recipe(swatches, stage), swatches / "out")
    query = Query([Term("red"), Term("green", -0.5)], top=3)
    with open_index(swatches / "album", "fake", plugins=PLUGINS) as index:
        want = index.search(query)
    found = rows(swatches / "out" / "results.csv")
    assert [(r["place"], r["path"], r["score"]) for r in found] == [
        (str(place), hit.path, f"{hit.score:.4f}") for place, hit in enumerate(want, 1)
    ]
    assert list(found[0]) == [
        "place",
        "score",
        "path",
        "width",
        "height",
        "format",
        "bytes",
        "date",
    ]
    assert want[0].path == str(swatches / "pics" / "red.png")
    assert saved(events) == [
        *(Path(hit.path).name for hit in want),
        "results.csv",
        "s.png",
        "p.html",
    ]
    with Image.open(swatches / "out" / "s.png") as sheet:
        assert np.asarray(sheet)[120, 120].tolist() == [255, 0, 0]
    assert "<title>red - green</title>" in (swatches / "out" / "p.html").read_text("utf-8")


def test_every_setting_reaches_the_query(swatches: Path) -> None:
    stage = {
        "do": "search",
        "input": ["pics"],
        "query": [
            "red",
            {"text": "blue", "weight": -0.3},
            {"image": "pics/red.png", "weight": 0.5},
        ],
        "like": "pics/green.png",
        "minus": "grey",
        "without": ["green"],
        "not_above": 2,
        "label": {"red": 0.5},
        "under": "pics",
        "name": ["*.png"],
        "since": "2024-05-31",
        "until": "2100-01-01",
        "min_bytes": "1b",
        "max_bytes": "2k",
        "min_side": 3,
        "type": ["png"],
        "top": 5,
        "skip": 1,
        "cut": 0.1,
        "min_score": -1,
        "group": 0.95,
        "sort": "path",
        "reverse": True,
    }
    made = recipe(swatches, stage)
    from pixweave.search.query import Bound, day, make_query

    want = make_query(
        like=[str(swatches / "pics/green.png")],
        terms=[(1.0, "red"), (-0.3, "blue")],
        images=[(0.5, str(swatches / "pics/red.png"))],
        minus=["grey"],
        nots=["green"],
        not_above=2,
        labels=[("red", 0.5)],
        under=(str(swatches / "pics"),),
        name=("*.png",),
        since=day("2024-05-31"),
        until=day("2100-01-01"),
        min_bytes=1,
        max_bytes=2000,
        min_side=3,
        types=("png",),
        top=5,
        skip=1,
        cut=0.1,
        least=-1,
        group=0.95,
        sort="path",
        reverse=True,
    )
    settings: Any = made.stages[0].settings
    asked = settings.to_query()
    assert asked == want
    assert asked.bounds == [Bound("green", 2, below=True), Bound("red", 0.5)]
    assert asked.filters == Filters(
        (str(swatches / "pics"),),
        ("*.png",),
        day("2024-05-31"),
        day("2100-01-01"),
        1,
        2000,
        3,
        ("png",),
    )
    assert made == load_text(made.resolved_yaml(), "again.yaml", swatches, PLUGINS)


def test_do_search_on_top_is_short_for_one_stage(swatches: Path) -> None:
    stage = {"index": "album", "input": ["pics"], "query": "red", "searcher": "exact"}
    short = load_text(json.dumps({**BODY, "do": "search", **stage}), "s.yaml", swatches, PLUGINS)
    assert short == recipe(swatches, {"do": "search", **stage})


def test_candidates_are_indexed_found_and_named(tmp_path: Path) -> None:
    made = recipe(
        tmp_path,
        {"do": "generate", "seeds": 3},
        {"do": "index", "index": "album", "tag": ["drawn"]},
        {"do": "search", "query": ["red"], "top": 2, "group": 1, "html": "found.html"},
        {"do": "classify", "labels": ["red", "blue"]},
        **DRAWN,
    )
    events = run(made, tmp_path / "out")
    assert saved(events) == ["a.png", "a.png", "results.csv", "found.html", "labels.csv"]
    found = rows(tmp_path / "out" / "results.csv")
    assert [row["path"] for row in rows(tmp_path / "out" / "labels.csv")] == [
        row["path"] for row in found
    ]
    assert all(row["path"].startswith("candidates/seed-") for row in found)
    assert [row["like"] for row in found] == ["0", "0"]
    page = (tmp_path / "out" / "found.html").read_text("utf-8")
    names = [row["path"].removeprefix("candidates/") for row in found]
    assert re.findall('alt="([^"]+)"', page) == names  # one file name, so with the folder's
    with open_index(tmp_path / "album", plugins=PLUGINS) as index:
        tagged = index.search(Query(filters=Filters(tags=["drawn"])))
        assert [hit.path for hit in tagged] == [
            str(tmp_path / "out" / "candidates" / f"seed-{seed}" / "a.png") for seed in (5, 6, 7)
        ]
        best = index.search(Query([Term("red")], top=2))
    assert [f"{hit.score:.4f}" for hit in best] == [row["score"] for row in found]
    told = [e.data for e in events if e.kind == "indexed"]
    assert [(t["encoded"], t["seen"]) for t in told] == [(3, 3), (3, 3)]
    run(
        recipe(
            tmp_path,
            {"do": "generate", "seeds": 1},
            {"do": "index", "index": "album"},
            **{**DRAWN, "seed": 9},
        ),
        tmp_path / "more",
    )
    with open_index(tmp_path / "album", plugins=PLUGINS) as index:
        assert index.store.counts() == (4, 0)


def test_the_perceptor_is_built_once_for_all_stages(tmp_path: Path, built: list[Any]) -> None:
    stages = [
        {"do": "generate", "seeds": 2},
        {"do": "index", "index": "album"},
        {"do": "search", "query": "red"},
        {"do": "rank", "prompts": ["red"]},
    ]
    run(recipe(tmp_path, *stages, **DRAWN), tmp_path / "out")
    assert len(built) == 1
    built.clear()
    (tmp_path / "pics").mkdir()
    Image.new("RGB", (24, 24), "red").save(tmp_path / "pics" / "red.png")
    first = [
        {"do": "search", "input": "pics", "like": "pics/red.png"},
        {"do": "classify", "labels": ["red", "blue"]},
    ]
    run(recipe(tmp_path, *first), tmp_path / "out2")
    assert len(built) == 1


def test_an_index_is_read_as_it_was_before(swatches: Path) -> None:
    from pixweave.search import IndexOptions

    with open_index(swatches / "album", "fake", make=True, plugins=PLUGINS) as index:
        list(index.update(IndexOptions([swatches / "pics"], background=(0, 0, 0), frames=3)))
    Image.new("RGB", (24, 24), "navy").save(swatches / "navy.png")
    run(recipe(swatches, {"do": "index", "index": "album", "input": "navy.png"}), swatches / "out")
    with open_index(swatches / "album", plugins=PLUGINS) as index:
        (model,) = index.store.models()
        assert model.preprocessing.endswith("/000000/3")
        assert model.count == 5


def test_what_is_broken_is_told_and_nothing_found_is_an_empty_table(swatches: Path) -> None:
    (swatches / "pics" / "bad.png").write_bytes(b"no picture")
    stage = {"do": "search", "input": ["pics"], "query": "red", "min_score": 2, "sheet": "s.png"}
    events = run(recipe(swatches, stage), swatches / "out")
    assert [e.data["message"] for e in events if e.kind == "warning"] == [
        f"not indexed: {swatches}/pics/bad.png: this is not an image in a supported format"
    ]
    assert (swatches / "out" / "results.csv").read_text() == "place,score,path\n"
    assert saved(events) == ["results.csv", "s.png"]
    only = {**stage, "input": ["pics/bad.png"]}
    with pytest.raises(MissingError) as caught:
        run(recipe(swatches, only), swatches / "out2")
    assert str(caught.value).endswith("no images for stage 'search'")
    second = {"do": "search", "query": "red", "file": "second.csv"}
    with pytest.raises(MissingError) as caught:
        run(recipe(swatches, stage, second), swatches / "out3")
    assert str(caught.value).endswith("no images for stage 'search'")


def test_an_index_is_an_input_of_other_stages(
    swatches: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(recipe(swatches, {"do": "index", "index": "album", "input": "pics"}), swatches / "out")
    rank = {"do": "rank", "prompts": ["red"]}
    tables = [
        run(recipe(swatches, {**rank, "input": name}), swatches / f"r-{name}")
        for name in ("album", "pics")
    ]
    assert saved(tables[0]) == saved(tables[1])
    label = {"do": "classify", "labels": ["red", "blue"], "keep": 2, "by": "red"}
    want = run(recipe(swatches, {**label, "input": ["pics", "pics/red.png"]}), swatches / "f")
    for path in (swatches / "pics").iterdir():
        path.unlink()
    found = run(recipe(swatches, {**label, "input": ["album"]}), swatches / "l")
    assert sorted(saved(found)) == sorted(saved(want)) == ["labels.csv", "orange.png", "red.png"]
    assert [r["label"] for r in rows(swatches / "l" / "labels.csv")][:2] == ["red", "red"]
    from pixweave_zeroshot.zero_shot_classifier import ZeroShotJudge

    monkeypatch.delattr(ZeroShotJudge, "judge")
    with pytest.raises(RunError) as caught:
        run(recipe(swatches, {**label, "input": ["album"]}), swatches / "m")
    assert str(caught.value) == (
        "this classifier needs the images, and an index only has their vectors; name the folders "
        "of the images instead"
    )


def test_a_stop_while_indexing_ends_the_run_and_keeps_the_index(swatches: Path) -> None:
    stage = {"do": "index", "index": "album", "input": "pics"}
    events = run(
        recipe(swatches, stage, {"do": "search", "query": "red"}), swatches / "out", lambda: True
    )
    assert events[-1].data["status"] == "interrupted"
    assert saved(events) == [f"{c}.png" for c in ("blue", "green", "orange", "red")]
    assert not (swatches / "out" / "results.csv").exists()


def issues(folder: Path, *stages: Any, **keys: Any) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        recipe(folder, *stages, **keys)
    return [f"{p.message}; {p.hint}".removesuffix("; ") for p in caught.value.issues]


def test_what_is_wrong_is_told_with_its_place_and_remedy(swatches: Path) -> None:
    search: dict[str, Any] = {"do": "search", "input": "pics", "query": "red"}
    assert issues(swatches, {"do": "search", "query": "red"}) == [
        "stage 'search': it is the first stage and has no images; add 'index: DIR' of an "
        "index, 'input: [photos/]', or a stage 'generate' before it"
    ]
    assert issues(swatches, {"do": "search", "index": "album"}) == [
        f"stage 'search': there is no index in '{swatches}/album'; create it "
        "with `pixweave index`, or add 'input: [photos/]'"
    ]
    assert issues(swatches, {"do": "index", "input": "pics"}) == [
        "stage 'index' needs 'index'; add 'index: ...' (folder of the index; created if it does "
        "not exist)"
    ]
    assert issues(swatches, {"do": "index", "index": "album"}) == [
        "stage 'index' is the first stage and has no input; add 'input: [photos/]', or a stage "
        "'generate' before it"
    ]
    assert issues(swatches, {"do": "index", "index": "pics/red.png", "input": "pics"}) == [
        "'index' of stage 'index' must be a folder; 'pics/red.png' is a file"
    ]
    again = {**search, "index": "album", "tag": "x", "file": "second.csv"}
    assert issues(swatches, search, again) == [
        "'input' of stage 'search' is not used: it gets the images of the previous stage; "
        "remove it",
    ]
    later = {"do": "search", "query": "red", "index": "album", "tag": "x", "file": "b.csv"}
    assert issues(swatches, search, later) == [
        "stage 'search': 'index' is not used: it searches the images of the previous stage; "
        "remove it",
        "stage 'search': 'tag' is not used: the images of the previous stage have no tags; "
        "remove it",
    ]
    assert issues(swatches, {**search, "perceptors": ["fake", {"use": "fake", "id": "b"}]}) == [
        "stage 'search': it uses one perceptor, and has 2; keep one"
    ]
    assert issues(swatches, search, perceptors=[]) == [
        "stage 'search': it needs a perceptor; add 'perceptors: [tiny]'"
    ]
    assert issues(swatches, {**search, "searcher": "exect"}) == [
        "searcher 'exect' is not known; did you mean 'exact'?"
    ]
    assert issues(swatches, {**search, "tpo": 3}) == [
        "stage 'search' has no setting 'tpo'; did you mean 'top'?"
    ]
    for wrong, said in (
        (
            {"query": 3},
            "'query' of stage 'search' must be a text, or a list of texts and of "
            "mappings with 'text' or 'image'",
        ),
        (
            {"query": [3]},
            "'query' of stage 'search' has 3, which is neither a text nor a mapping "
            "with 'text' or 'image'; put a number in quotes",
        ),
        (
            {"query": [{"weight": 2}]},
            "'query.0' of stage 'search': a term must have either text or image",
        ),
        (
            {"like": "rde.png"},
            "'like' of stage 'search' names the file 'rde.png', which does not "
            f"exist; no similar name in {swatches}",
        ),
        ({"since": "May"}, "'since' of stage 'search' must be a date, not 'May'; write 2024-05-31"),
        (
            {"max_bytes": "big"},
            "'max_bytes' of stage 'search' must be a size, not 'big'; write 500k, 2MB",
        ),
        ({"top": 0}, "'top' of stage 'search' must be at least 1, not 0"),
        (
            {"name": 7},
            "'name' of stage 'search' must be a text, or a list of texts; put a number in quotes",
        ),
        (
            {"sheet": "a.gif"},
            "'sheet' of stage 'search' must be the name of a file in the run "
            "folder, not 'a.gif'; use the extension .png, .jpg, .jpeg or .webp",
        ),
        (
            {"html": "../a.html"},
            "stage 'search': '../a.html' is outside the run folder; use a plain file name; --out "
            "chooses the folder",
        ),
    ):
        assert issues(swatches, {**search, **wrong}) == [said]


def test_the_place_of_a_mistake_is_its_line(swatches: Path) -> None:
    text = "pixweave: 1\nstages:\n  - do: search\n    input: pics\n    query: red\n    topp: 3\n"
    with pytest.raises(RecipeError) as caught:
        load_text(text, "s.yaml", swatches, PLUGINS)
    assert str(caught.value) == (
        "s.yaml:6:5: stage 'search' has no setting 'topp'; did you mean 'top'?"
    )
