"""Layers, presets, --set, ids, sugar: what a recipe becomes."""

from __future__ import annotations

import io
import json
import pickle
import sys
from pathlib import Path
from typing import Any

import pytest
from recipe_doubles import Doubles, doubles, lines, recipe

from pixweave.component import Component
from pixweave.errors import RecipeError
from pixweave.hookspecs import hookimpl
from pixweave.recipe import Value, load, load_text
from pixweave.recipe.top_level import DEFAULT_AUGMENTATIONS

TOP = "pixweave: 1\nprompts: [a fox]\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, text: str) -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(f"pixweave: 1\n{text}")
    return name


def test_a_recipe_of_two_lines_is_complete() -> None:
    made = recipe(TOP)
    assert (made.seed, made.size, made.steps, made.fps) == (0, (256, 256), 200, 24)
    assert (made.device, made.precision, made.title, made.name) == ("auto", "auto", "", "fox")
    assert [part.id for part in made.parts] == [
        "tiny",
        "pixel",
        "prompt",
        "smoothness",
        *DEFAULT_AUGMENTATIONS,
        "png",
    ]
    assert made.losses[0].settings.model_dump() == {"text": "a fox", "image": None}
    assert made.losses[0].weight == Value(1)
    assert made.losses[0].plugin == "doubles"
    assert made.crops.count == Value(16)
    assert made.optimizer.use == "adam"
    assert made.warnings == ()


def test_prompts_become_losses_before_the_others() -> None:
    made = recipe(
        "pixweave: 1\nprompts: [a fox, {text: blurry, weight: -0.3, id: b}]\n"
        "losses: [smoothness, {use: smoothness, amount: 0.1}]\n"
    )
    assert [(p.use, p.id) for p in made.losses] == [
        ("prompt", "prompt"),
        ("prompt", "b"),
        ("smoothness", "smoothness"),
        ("smoothness", "smoothness-2"),
    ]
    assert made.losses[1].weight == Value(-0.3)
    assert recipe("pixweave: 1\nprompts: a fox\n").losses == recipe(TOP).losses
    assert [p.use for p in recipe(TOP).losses] == ["prompt", "smoothness"]
    assert [p.use for p in recipe(TOP + "losses: []\n").losses] == ["prompt"]


def test_exporters_go_by_the_ending() -> None:
    made = recipe(TOP + "export: [fox.PNG, {file: fox.mp4, fps: 12}, {use: film, file: x.bin}]\n")
    assert [(p.use, p.settings.file) for p in made.exports] == [  # type: ignore[attr-defined]
        ("png", "fox.PNG"),
        ("film", "fox.mp4"),
        ("film", "x.bin"),
    ]


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("[320, 200]", (320, 200)),
        ("640x360", (640, 360)),
        ("128", (128, 128)),
        ("16:9", (336, 192)),
        ("9:16", (192, 336)),
        ("1:1", (256, 256)),
        ("2.39:1", (400, 160)),
    ],
)
def test_sizes(written: str, size: tuple[int, int]) -> None:
    assert recipe(TOP + f"size: {written}\n").size == size


@pytest.mark.parametrize(
    ("below", "above", "size"),
    [
        ("512", "16:9", (688, 384)),
        ("16:9", "512", (688, 384)),
        ("[100, 100]", "2:1", (144, 64)),
        ("16:9", "[64, 64]", (64, 64)),
        ("16:9", "1:2", (176, 368)),
    ],
)
def test_a_shape_and_a_number_of_pixels_make_a_size(
    here: Path, below: str, above: str, size: tuple[int, int]
) -> None:
    write("base.yaml", f"size: {below}\n")
    made = load([write("a.yaml", f"extends: base.yaml\nprompts: [a]\nsize: {above}\n")], doubles())
    assert made.size == size


def test_a_random_seed_is_drawn_and_recorded() -> None:
    seeds = {recipe(TOP + "seed: random\n").seed for _ in range(3)}
    assert len(seeds) == 3
    made = recipe(TOP + "seed: random\n")
    assert made.resolved()["seed"] == made.seed


def test_what_a_layer_names_lies_beneath_it(here: Path) -> None:
    write("base.yaml", "steps: 7\nseed: 7\nfps: 7\ntitle: base\n")
    write("mine.yaml", "steps: 8\nseed: 8\nfps: 8\n")
    text = "extends: base.yaml\nquality: draft\npresets: [./mine.yaml]\nprompts: [a]\nfps: 9\n"
    made = load([write("a.yaml", text)], doubles())
    assert (made.title, made.steps, made.seed, made.fps) == ("base", 8, 8, 9)
    assert made.crops.count == Value(8)  # draft's
    assert [name for name, _ in made.sources] == [
        "a.yaml",
        "base.yaml",
        "presets/draft.yaml",
        "mine.yaml",
    ]


def test_set_quality_overrides_the_steps_of_the_recipe(here: Path) -> None:
    name = write("a.yaml", "steps: 999\nprompts: [a]\nquality: best\n")
    assert load([name], doubles()).steps == 999
    made = load([name], doubles(), ["quality=draft"])
    assert (made.steps, made.crops.count) == (80, Value(8))
    assert load([name], doubles(), ["quality=draft", "steps=3"]).steps == 3
    assert load([name], doubles(), ["presets=normal", "presets+=draft"]).steps == 80


def test_recipes_merge_from_left_to_right(here: Path) -> None:
    one = write("one.yaml", "prompts: [a]\ncrops: {count: 3, turn: 4}\nsteps: 10\n")
    two = write("two.yaml", "crops: {count: 5}\nprompts: [b]\n")
    made = load([one, two], doubles())
    assert (made.name, made.crops.count, made.crops.turn) == ("one", Value(5), 4)
    assert made.losses[0].settings.text == "b"  # type: ignore[attr-defined]


def test_parts_merge_only_when_they_are_the_same(here: Path) -> None:
    write("base.yaml", "generator: {use: pixel, grid: [8, 8], alpha: true}\nprompts: [a]\n")
    for above, grid, use in (
        ("{grid: [4, 4]}", (4, 4), "pixel"),
        ("{use: pixel, alpha: false}", (8, 8), "pixel"),
        ("{use: other}", None, "other"),
        ("pixel", None, "pixel"),
    ):
        made = load([write("a.yaml", f"extends: base.yaml\ngenerator: {above}\n")], doubles())
        assert (made.generator.use, made.generator.settings.grid) == (use, grid)  # type: ignore[attr-defined]


def test_keyframes_replace_keyframes(here: Path) -> None:
    write("base.yaml", "crops: {count: {0: 4, 50%: 8}, turn: 3}\nprompts: [a]\n")
    made = load(
        [write("a.yaml", "extends: base.yaml\ncrops: {count: {0: 5, end: 6}}\n")], doubles()
    )
    assert made.crops.count == Value({0: 5, "end": 6})
    assert made.crops.turn == 3


def test_builtins_and_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    text = b"pixweave: 1\nextends: presets/draft\nprompts: [a]\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    made = load(["-"], doubles())
    assert (made.name, made.steps) == ("stdin", 80)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"pixweave: 1\nsteps: 0\n")))
    with pytest.raises(RecipeError) as error:
        load(["-"], doubles())
    assert str(error.value) == lines(
        "stdin:1:1: the recipe has no prompts and no losses; add 'prompts: [a fox in snow]'",
        "stdin:2:8: 'steps' must be between 1 and 100000, not 0",
    )


@pytest.mark.parametrize(
    ("change", "path", "value"),
    [
        ("steps=3", ("steps",), 3),
        ("title=fox: a tale", ("title",), "fox: a tale"),
        ("title='3'", ("title",), "3"),
        ("size=16:9", ("size",), [336, 192]),
        ("prompts.0=an owl", ("losses", 0, "text"), "an owl"),
        ("prompts[1]=an owl", ("losses", 1, "text"), "an owl"),
        ("prompts.1=an owl", ("losses", 1, "weight"), 2),
        ("prompts.2=an owl", ("losses", 2, "text"), "an owl"),
        ("prompts+=an owl", ("losses", 2, "text"), "an owl"),
        ("prompts.0.weight=3", ("losses", 0, "weight"), 3),
        ("prompts=[x, y]", ("losses", 1, "text"), "y"),
        ("~prompts.0", ("losses", 0, "text"), "b"),
        ("losses.smoothness.weight=4", ("losses", 2, "weight"), 4),
        ("losses.flat.amount=0.25", ("losses", 3, "amount"), 0.25),
        ("losses.0.weight={0: 1, 50%: 2}", ("losses", 2, "weight"), {"0": 1, "50%": 2}),
        ("losses.0.weight=1 + t", ("losses", 2, "weight"), "1 + t"),
        ("generator.grid=[4, 4]", ("generator", "grid"), [4, 4]),
        ("generator=other", ("generator", "use"), "other"),
        ("generator.use=other", ("generator", "use"), "other"),
        ("augmentations.0.hue=0.3", ("augmentations", 0, "hue"), 0.3),
        ("augmentations.noise.amount=0.3", ("augmentations", 1, "amount"), 0.3),
        ("augmentations+={use: jitter, hue: 0.2}", ("augmentations", 2, "id"), "jitter-2"),
        ("~augmentations.jitter", ("augmentations", 0, "use"), "noise"),
        ("augmentations=[]", ("augmentations",), []),
        ("export.0=a.mp4", ("export", 0, "use"), "film"),
        ("export+=a.gif", ("export", 1, "file"), "a.gif"),
        ("export.0.file=b.png", ("export", 0, "file"), "b.png"),
        ("crops.count=3", ("crops", "count"), 3),
        ("optimizer=sgd", ("optimizer", "use"), "sgd"),
        ("optimizer.use=sgd", ("optimizer", "use"), "sgd"),
        ("optimizer.rate=0.1", ("optimizer", "rate"), 0.1),
        ("inputs.speed=3", ("inputs", "speed"), 3),
        ("~steps", ("steps",), 200),
        ("~generator", ("generator", "use"), "pixel"),
    ],
)
def test_set(change: str, path: tuple[Any, ...], value: Any) -> None:
    text = lines(
        "pixweave: 1",
        "prompts: [a, {text: b, weight: 2}]",
        "steps: 20",
        "losses: [smoothness, {use: smoothness, id: flat}]",
    )
    found: Any = recipe(text, change).resolved()
    for step in path:
        found = found[step]
    assert found == value


def test_inputs_drive_values() -> None:
    made = recipe(
        TOP + "inputs: {slow: t / 10, wave: sin(slow)}\nlosses:\n"
        "  - {use: smoothness, weight: 1 + wave}\n"
    )
    assert made.losses[1].weight.at(made.moment(0)) == 1
    assert 1 < made.losses[1].weight.at(made.moment(100)) < 2


def test_the_size_that_a_generator_makes() -> None:
    made = recipe(TOP + "size: [256, 250]\ngenerator: {use: pixel, grid: [48, 48]}\n")
    assert made.size == (240, 240)
    assert [str(warning) for warning in made.warnings] == [
        "fox.yaml:3:7: size 256x250 becomes 240x240, the nearest size that generator 'pixel' "
        "supports"
    ]


def test_parts_can_warn() -> None:
    made = recipe(TOP + "steps: 3\ngenerator: {use: pixel, alpha: true}\n")
    assert [str(w) for w in made.warnings] == [
        "fox.yaml:4:32: generator 'pixel': few steps leave holes"
    ]


FULL = """pixweave: 1
title: "yes\\nno"
seed: 3
size: 16:9
steps: 40
inputs: {speed: 2, wave: sin(speed * t)}
x-mine: [1, 2]
prompts: [a fox, {text: "blurry: #1", weight: -0.5}, {image: fox.jpg}]
losses:
  - {use: smoothness, weight: {0: 0, 50%: {value: 1, ease: hold}, ease: smooth}, amount: p}
  - {use: colours, colors: ["#ff0000", "000000", '1e3']}
generator: {use: other, grid: [16, 9], codebook: 3}
augmentations: []
optimizer: {use: sgd, rate: 0.1 * (1 - p)}
crops: {count: {0: 4, end: 8}, batch: 3}
export: [fox.png, {file: fox.gif, fps: 12}]
"""


def test_a_resolved_recipe_loads_to_an_equal_one(here: Path) -> None:
    Path("fox.jpg").write_bytes(b"")
    made = recipe(FULL, "crops.turn=3", folder=here)
    again = load_text(made.resolved_yaml(), "again", Path("/elsewhere"), doubles())
    assert again == made
    assert again.resolved() == made.resolved()
    assert load_text(json.dumps(made.resolved()), "again", here, doubles()) == made
    assert pickle.loads(pickle.dumps(made)) == made
    assert made != recipe(FULL, folder=here)


def test_a_resolved_recipe_says_where_everything_comes_from(here: Path) -> None:
    write("base.yaml", "fps: 12\nlosses: [smoothness]\n")
    text = "extends: base.yaml\nquality: draft\nprompts: [a]\ngenerator: {grid: [8, 8]}\n"
    text += "crops: {zoomed: {0: 0.5, end: 1}}\n"
    made = load([write("a.yaml", text)], doubles(), ["crops.turn=3", "losses.0.amount=0.2"])
    said = {path: origin for path, _, origin in made.explain()}
    assert said["fps"] == "extends base.yaml:2:6"
    assert said["steps"] == "preset draft"
    assert said["crops.count"] == "preset draft"
    assert said["crops.turn"] == "--set"
    assert said["crops.zoomed"] == "recipe a.yaml:6:17"
    assert said["crops.area"] == "default"
    assert said["seed"] == "default"
    assert said["losses.0.text"] == "recipe a.yaml:4:11"
    assert said["losses.0.weight"] == "default"
    assert said["losses.1.use"] == "extends base.yaml:3:10"
    assert said["losses.1.amount"] == "--set"
    assert said["losses.1.kind"] == "plugin doubles"
    assert said["generator.use"] == "default"
    assert said["generator.grid"] == "recipe a.yaml:5:19"
    assert said["generator.cell"] == "plugin doubles"
    assert said["augmentations.0.use"] == "default"
    assert made.explain("crops.turn") == [("crops.turn", 3, "--set")]
    assert [row[0] for row in made.explain("losses.smoothness.amount")] == ["losses.1.amount"]
    assert made.explain("nothing") == []
    assert "  turn: 3.0" in made.resolved_yaml()
    assert "# preset draft" in made.resolved_yaml()


def test_a_broken_plugin_is_said_and_not_raised() -> None:
    class Rude(Component):
        """Raises."""

        def check(self, recipe: Any) -> Any:
            raise KeyError("oh")

        def build(self, run: Any) -> Any: ...

    class Plugin:
        @hookimpl
        def register_losses(self) -> dict[str, type[Component]]:
            return {"rude": Rude}

    plugins = doubles()
    plugins.add(Plugin(), "rude")
    with pytest.raises(RecipeError) as error:
        recipe("pixweave: 1\nlosses: [rude]\n", plugins=plugins)
    assert str(error.value) == (
        "fox.yaml:2:10: check() of loss 'rude' raised KeyError: 'oh' (test_load.py:331); "
        "this is a bug in the plugin rude"
    )


def test_a_name_can_say_which_plugin_is_meant() -> None:
    class Twin:
        @hookimpl
        def register_losses(self) -> dict[str, type[Component]]:
            return {"smoothness": Doubles().register_losses()["smoothness"]}

    plugins = doubles()
    plugins.add(Twin(), "twin")
    made = recipe("pixweave: 1\nlosses: [twin/smoothness]\n", plugins=plugins)
    assert (made.losses[0].plugin, made.losses[0].id) == ("twin", "smoothness")
    with pytest.raises(RecipeError) as error:
        recipe("pixweave: 1\nlosses: [smoothness]\n", plugins=plugins)
    assert str(error.value) == (
        "fox.yaml:2:10: loss 'smoothness' is registered by the plugins 'doubles' and 'twin'; write "
        "'doubles/smoothness', or use --without"
    )
