"""Every recipe that ships is valid and runs."""

from __future__ import annotations

import importlib.util
import json
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

from pixweave import Plugins, generate, load, open_run
from pixweave.pipeline.runner import perform

FOLDER = Path(__file__).parent.parent / "recipes"
RECIPES = sorted(p for p in FOLDER.rglob("*.yaml") if "presets" not in p.parts)
PRESETS = sorted((FOLDER / "presets").glob("*.yaml"))
DIGESTS = json.loads((Path(__file__).parent / "digests.json").read_text("utf-8"))
"""What each recipe resolved to and drew when it was recorded; see scripts/digests.py."""

TOLERANCE = 6
"""Greatest difference of a thumbnail's bytes: processors differ in the last bits of a step."""

STAGED = {
    "candidates": ["sun.png", "ranking.csv", "labels.csv"],
    "album": ["sky.png", "sky.png", "results.csv", "dusk.png", "labels.csv"],
    "found": ["sky.png", "results.csv", "found.html", "labels.csv"],
}
"""What the recipes with stages save, as they are shortened here."""


def digests_script() -> Any:
    path = FOLDER.parent / "scripts" / "digests.py"
    spec = importlib.util.spec_from_file_location("digests", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


digests = digests_script()


def test_they_are_all_here() -> None:
    assert len(RECIPES) >= 7
    assert [p.stem for p in PRESETS] == ["best", "better", "draft", "normal", "pixray"]


SLOW = ("sticker", "painting", "sketch")
"""Recipes that take more than ten seconds."""


def _marked(path: Path) -> Any:
    marks = [pytest.mark.slow] if path.stem in SLOW else []
    return pytest.param(path, id=path.stem, marks=marks)


@pytest.mark.parametrize("path", [_marked(path) for path in RECIPES])
def test_it_runs_and_writes_what_it_says(path: Path, tmp_path: Path) -> None:
    recipe = load([path], Plugins.discover(), digests.shortened(path, tmp_path))
    assert recipe.warnings == ()
    events = list(perform(recipe, tmp_path))
    assert events[-1].kind == "result"
    assert events[-1].data["status"] == "done"
    recorded = DIGESTS[path.stem]
    assert digests.resolved(recipe, tmp_path) == recorded["resolved"]
    thumbnail = digests.drawn(events).get("thumbnail")
    assert (thumbnail is None) == ("thumbnail" not in recorded)
    if thumbnail is not None:
        apart = [abs(a - b) for a, b in zip(thumbnail, recorded["thumbnail"], strict=True)]
        assert max(apart) <= TOLERANCE, apart
    saved = [Path(e.data["path"]) for e in events if e.kind == "saved"]
    if recipe.stages:
        assert [p.name for p in saved] == STAGED[path.stem]
    else:
        assert len(saved) == len(recipe.exports)
    assert all(p.exists() for p in saved)


def test_hello_opens_no_socket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    recipe = load([FOLDER / "hello.yaml"], Plugins.discover(), ["steps=1"])
    assert list(perform(recipe, tmp_path))[-1].data["ok"] is True


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.stem)
def test_it_teaches(path: Path) -> None:
    lines = path.read_text("utf-8").splitlines()
    assert lines[0].startswith("# ")
    assert lines[1].strip() == f"#   pixweave run recipes/{path.name}"


@pytest.mark.parametrize("path", PRESETS, ids=lambda p: p.stem)
def test_a_preset_applies(path: Path) -> None:
    plugins = Plugins.discover()
    recipe = load([FOLDER / "hello.yaml"], plugins, [f"presets=[{path.stem}]", "steps=2"])
    frames = list(generate(open_run(recipe)))
    assert len(frames) == 2
    assert torch.isfinite(frames[-1].image).all()


def test_quality_costs_more_from_draft_to_best() -> None:
    plugins = Plugins.discover()
    costs = []
    for name in ("draft", "normal", "better", "best"):
        recipe = load([FOLDER / "hello.yaml"], plugins, [f"quality={name}"])
        costs.append(recipe.steps * recipe.crops.count.at(recipe.moment(0)))
    assert costs == sorted(costs)
    assert len(set(costs)) == 4
