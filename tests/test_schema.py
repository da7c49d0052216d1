"""The JSON Schema of everything installed, judged by an independent validator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from recipe_doubles import doubles
from test_load import FULL

from pixweave.plugins import Plugins
from pixweave.recipe import builtins, load
from pixweave.recipe.json_schema import schema
from pixweave.recipe.nodes import parse

TOP = "pixweave: 1\nprompts: [a fox]\n"


def said(text: str, plugins: Plugins | None = None) -> list[str]:
    """What the independent validator finds wrong with a recipe: the places."""
    validator = Draft202012Validator(schema(plugins or doubles()))
    data = parse(text, "fox.yaml", Path()).plain()
    return [".".join(map(str, error.absolute_path)) for error in validator.iter_errors(data)]


def test_the_schema_is_a_schema() -> None:
    for plugins in (doubles(), Plugins.discover(), Plugins.discover(entry_points=False)):
        made = schema(plugins)
        Draft202012Validator.check_schema(made)
        assert json.loads(json.dumps(made)) == made


def test_every_key_and_every_setting_is_described() -> None:
    made = schema(Plugins.discover())
    places = {"top level": made, **made["$defs"]}
    for name, place in places.items():
        for key, setting in place.get("properties", {}).items():
            if key not in ("use", "ease", "value"):
                assert setting.get("description"), f"{name}: {key}"


@pytest.mark.parametrize("name", builtins())
def test_it_accepts_every_recipe_that_ships(name: str) -> None:
    assert said(builtins()[name].read_text(), Plugins.discover()) == []


@pytest.mark.parametrize(
    "text",
    [
        FULL,
        TOP,
        TOP + "perceptors: [{use: tiny, weight: 1 + t, id: eye}]\n",
        TOP + "generator: {grid: [3, 3]}\nextends: [hello, a.yaml]\nquality: best\n",
        TOP + "losses: [{use: doubles/smoothness}]\ndevice: cuda:1\nseed: random\n",
        TOP + "start_from: a.png\nmask: [0, 0, 1, 0.5]\noverlay: {image: b.png, until: 50%}\n",
        TOP + "start_from: {image: a.png, background: red}\nmask: {image: m.png}\n",
        TOP + "optimizer: sgd\nx-a: {b: c}\nsize: 640x360\n",
        TOP + "crops: {count: {0: 1, 50%: {value: 2, ease: hold}, ease: smooth}}\n",
        "pixweave: 1\nprompts: a fox\n",
    ],
)
def test_it_accepts_what_is_right(text: str) -> None:
    assert said(text) == []


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("prompts: [a]\n", ""),
        ("pixweave: 2\n", "pixweave"),
        (TOP + "stpes: 3\n", ""),
        (TOP + "steps: 0\n", "steps"),
        (TOP + "steps: '3'\n", "steps"),
        (TOP + "size: big\n", "size"),
        (TOP + "seed: -1\n", "seed"),
        (TOP + "device: gpu\n", "device"),
        (TOP + "quality: fast\n", "quality"),
        (TOP + "crops: {cuont: 3}\n", "crops"),
        (TOP + "crops: {count: 5000}\n", "crops.count"),
        (TOP + "crops: {count: {2m: 3}}\n", "crops.count"),
        (TOP + "crops: {count: {0: 3, ease: smoth}}\n", "crops.count"),
        (TOP + "optimizer: adma\n", "optimizer"),
        (TOP + "generator: pixl\n", "generator"),
        (TOP + "generator: {use: pixel, gird: [3, 3]}\n", "generator"),
        (TOP + "generator: {use: pixel, weight: 2}\n", "generator"),
        (TOP + "losses: smoothness\n", "losses"),
        (TOP + "losses: [smoothnes]\n", "losses.0"),
        (TOP + "losses: [colours]\n", "losses.0"),
        (TOP + "losses: [{use: smoothness, amount: 2}]\n", "losses.0"),
        (TOP + "losses: [{use: smoothness, kind: eges}]\n", "losses.0"),
        (TOP + "augmentations: [{use: jitter, weight: 2}]\n", "augmentations.0"),
        (TOP + "export: [fox.txt]\n", "export.0"),
        (TOP + "export: [{file: a.mp4, fsp: 3}]\n", "export.0"),
        (TOP + "do: paint\n", "do"),
        (TOP + "stages: [{do: rank, keep: 0}]\n", "stages.0"),
        ("pixweave: 1\nprompts: [{txt: a}]\n", "prompts"),
        ("pixweave: 1\nprompts: [3]\n", "prompts"),
    ],
)
def test_it_refuses_what_is_wrong(text: str, where: str) -> None:
    assert said(text) == [where]


def test_a_resolved_recipe_follows_it() -> None:
    made = load([builtins()["hello"]], Plugins.discover()).resolved()
    plain: Any = json.loads(json.dumps(made))
    assert not list(Draft202012Validator(schema(Plugins.discover())).iter_errors(plain))
