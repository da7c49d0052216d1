"""What a plugin of one file can bring: stages, parts in parts, parts that change over time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from pixweave import (
    MissingError,
    PluginError,
    Plugins,
    RecipeError,
    generate,
    load_text,
    open_run,
    perform,
)
from pixweave.errors import PartError
from pixweave.recipe.json_schema import schema
from pixweave.testing import plugins_of, tiny_recipe

STAGE = '''
from pixweave import Component, Event, Field, hookimpl

class Shuffle(Component):
    """Put the pictures into a random order and keep some of them."""
    keep: int = Field(1, ge=1, description="how many go on")

    def build(self, run):
        import torch

        def shuffle(pictures):
            order = torch.randperm(len(pictures), generator=run.rng("shuffle")).tolist()
            kept = [pictures[i] for i in order][: self.keep]
            run.save_table("order.csv", [{"path": run.relative(p)} for p in kept], ["path"])
            yield Event("shuffled", {"kept": len(kept)})
            return kept
        return shuffle

@hookimpl
def register_stages():
    return {"shuffle": Shuffle}
'''

NESTED = '''
from pixweave import Component, Field, Part, PartOf, hookimpl

class Mirror(Component):
    """Another generator's picture, mirrored."""
    inner: Part = PartOf("generator", description="what is mirrored")
    judges: tuple[Part, ...] = PartOf(
        "perceptor", many=True, default=["fake"], description="what looks at it"
    )

    def build(self, run):
        inner, judges = run.make(self.inner), [run.make(judge) for judge in self.judges]

        class Mirrored:
            parameters, constrain = inner.parameters, inner.constrain
            start_from = inner.start_from
            state_dict, load_state_dict = inner.state_dict, inner.load_state_dict
            info = f"mirrored, seen by {len(judges)} of {judges[0].size} px"
            looks = judges

            def image(self):
                return inner.image().flip(3)
        return Mirrored()

@hookimpl
def register_generators():
    return {"mirror": Mirror}
'''

OVER_TIME = '''
from pixweave import Component, Value, hookimpl, over_time

class Fade(Component):
    """Darken the finished picture by a share that changes over time."""
    strength: Value = over_time(1, ge=0, le=1, description="how much light is left")

    def build(self, run):
        return lambda image, moment: image * self.strength.at(moment)

class Dim(Component):
    """Darken the crops by a share that changes over time."""
    strength: Value = over_time(1, ge=0, le=1, description="how much light is left")

    def build(self, run):
        def dim(crops, rng, moment):
            self.seen.append((moment.frame, round(self.strength.at(moment), 3)))
            return crops * self.strength.at(moment)
        return dim

Dim.seen = []

class Old(Component):
    """Takes the arguments of an earlier pixweave."""

    def build(self, run):
        return lambda crops, rng: crops

@hookimpl
def register_filters():
    return {"fade": Fade}

@hookimpl
def register_augmentations():
    return {"dim": Dim, "old": Old}
'''

STILL = '''
from typing import ClassVar
from pixweave import Component, hookimpl

class Rising(Component):
    """A grey that gets lighter by itself."""
    can: ClassVar[frozenset[str]] = frozenset({"without_losses"})

    def build(self, run):
        import torch

        class Grey:
            level = 0.0
            def parameters(self): return []
            def image(self): return torch.full((1, 3, *run.size[::-1]), self.level)
            def constrain(self): ...
            def start_from(self, image): ...
            def advance(self, moment): self.level = moment.progress
            def state_dict(self): return {"level": self.level}
            def load_state_dict(self, state): self.level = state["level"]
        return Grey()

class Loud(Component):
    """Must not be called."""

    def build(self, run):
        def loss(view):
            self.calls.append(view.step)
            return view.image.mean()
        return loss

Loud.calls = []

@hookimpl
def register_generators():
    return {"rising": Rising}

@hookimpl
def register_losses():
    return {"loud": Loud}
'''


def plugins(folder: Path, source: str) -> Plugins:
    """The installed plugins, and one from a file."""
    folder.joinpath("mine.py").write_text(source, "utf-8")
    return Plugins.discover([folder])


def with_fake(folder: Path, source: str) -> Plugins:
    found = plugins_of()
    for plugin in plugins(folder, source).loaded.values():
        if plugin.name == "mine":
            found.add(__import__("sys").modules["pixweave_plugin_mine"], "mine")
    return found


def test_a_stage_of_twenty_lines(tmp_path: Path) -> None:
    found = with_fake(tmp_path, STAGE)
    assert len(STAGE.strip().splitlines()) <= 21
    recipe = tiny_recipe(
        found,
        stages=[{"do": "generate", "seeds": 3}, {"do": "shuffle", "keep": 2}],
        export=["a.png"],
    )
    events = list(perform(recipe, tmp_path))
    kinds = [event.kind for event in events if event.kind != "step"]
    assert kinds[-5:] == ["shuffled", "saved", "saved", "saved", "result"]
    saved = [Path(event.data["path"]) for event in events if event.kind == "saved"]
    assert saved[-1] == tmp_path / "order.csv"
    assert len({path.parent.name for path in saved[:-1]}) == 2
    resolved = recipe.resolved()["stages"][1]
    assert resolved == {"do": "shuffle", "keep": 2}
    again = load_text(recipe.resolved_yaml(), "again.yaml", tmp_path, found)
    assert again.stages == recipe.stages


def test_its_mistakes_and_its_page_are_like_those_of_any_part(tmp_path: Path) -> None:
    from pixweave.cli.show import describe

    found = with_fake(tmp_path, STAGE)
    with pytest.raises(RecipeError) as caught:
        tiny_recipe(found, stages=["generate", {"do": "shuffle", "kep": 2}], export=["a.png"])
    (issue,) = caught.value.issues
    assert issue.message == "stage 'shuffle' has no setting 'kep'"
    assert issue.hint == "did you mean 'keep'?"
    with pytest.raises(RecipeError) as unknown:
        tiny_recipe(found, stages=["generate", "shuffel"], export=["a.png"])
    assert unknown.value.issues[0].hint == "did you mean 'shuffle'?"
    page = describe(found.find("stage", "shuffle"))
    assert page.splitlines()[-1] == "  stages: [generate, {do: shuffle, keep: 1}]"
    assert "shuffle" in schema(found)["properties"]["do"]["enum"]


def test_a_failing_stage_ends_as_failed(tmp_path: Path) -> None:
    failing = STAGE.replace("order = torch", "raise ValueError('no order'); order = torch")
    recipe = tiny_recipe(
        with_fake(tmp_path, failing), stages=["generate", "shuffle"], export=["a.png"]
    )
    with pytest.raises(PartError) as caught:
        list(perform(recipe, tmp_path))
    assert str(caught.value) == (
        "stage 'shuffle' (tiny.yaml:1, plugin mine) raised ValueError: no order (mine.py:12)"
    )
    assert json.loads((tmp_path / "run.json").read_text())["status"] == "failed"


def test_a_part_in_a_part(tmp_path: Path) -> None:
    found = with_fake(tmp_path, NESTED)
    inner = {"use": "pixel", "grid": [12, 12]}
    recipe = tiny_recipe(found, generator={"use": "mirror", "inner": inner})
    run, plain = open_run(recipe), open_run(tiny_recipe(found))
    assert torch.equal(run.generator.image(), plain.generator.image().flip(3))
    generator: Any = run.generator
    assert generator.info == "mirrored, seen by 1 of 16 px"
    assert generator.looks[0] is run.perceptors["fake"]  # equal settings: one for the whole run
    assert len(list(generate(run))) == 3
    rows = {path: value for path, value, _ in recipe.explain("generator")}
    assert rows["generator.inner.use"] == "pixel"
    assert rows["generator.inner.grid"] == [12, 12]
    again = load_text(recipe.resolved_yaml(), "again.yaml", tmp_path, found)
    assert again.generator == recipe.generator


def test_a_part_in_a_part_is_checked_and_in_the_schema(tmp_path: Path) -> None:
    found = with_fake(tmp_path, NESTED)

    def issues(**settings: Any) -> list[str]:
        with pytest.raises(RecipeError) as caught:
            tiny_recipe(found, generator={"use": "mirror", **settings})
        return [f"{issue.message}; {issue.hint}" for issue in caught.value.issues]

    assert issues() == ["generator 'mirror' needs 'inner'; add 'inner: ...' (what is mirrored)"]
    assert issues(inner="pixle") == ["generator 'pixle' is not known; did you mean 'pixel'?"]
    assert issues(inner={"use": "pixel", "grdi": [2, 2]}) == [
        "generator 'pixel' has no setting 'grdi'; did you mean 'grid'?"
    ]
    assert issues(inner="pixel", judges="fake") == [
        "'judges' must be a list; write 'judges: [...]', or one '- item' per line"
    ]
    assert issues(inner={"use": "pixel", "grid": [99, 2]}) == [
        "generator 'pixel': a grid of 99x2 cells does not fit in 24x24 pixels; "
        "set size to at least [99, 2]"
    ]
    definition = schema(found)["$defs"]["generator.mirror"]["properties"]
    assert {"$ref": "#/$defs/generator"} in definition["inner"]["anyOf"]
    assert definition["judges"]["type"] == ["array", "null"]
    assert "use" in schema(found)["$defs"]["generator"]["required"]


def test_a_filter_and_an_augmentation_change_over_time(tmp_path: Path) -> None:
    found = with_fake(tmp_path, OVER_TIME)
    schedule = {0: 1, "end": 0}
    recipe = tiny_recipe(
        found,
        filters=[{"use": "fade", "strength": schedule}],
        augmentations=[{"use": "dim", "strength": "1 - p / 2"}],
    )
    frames = list(generate(open_run(recipe)))
    for frame, left in zip(frames, (1, 0.5, 0), strict=True):
        assert torch.allclose(frame.image, frame.raw * left)
    dim: Any = found.find("augmentation", "dim").component
    assert dim.seen == [(0, 1.0), (1, 0.75), (2, 0.5)]


def test_one_that_takes_other_arguments_is_named(tmp_path: Path) -> None:
    recipe = tiny_recipe(with_fake(tmp_path, OVER_TIME), augmentations=["old"])
    with pytest.raises(PluginError) as caught:
        open_run(recipe)
    assert str(caught.value) == (
        "augmentation 'old' (tiny.yaml:1, plugin mine) must accept the arguments "
        "(crops, rng, moment); change the object that build(run) returns"
    )


def test_a_generator_may_move_itself_without_losses(tmp_path: Path) -> None:
    found = with_fake(tmp_path, STILL)
    recipe = tiny_recipe(found, generator="rising", prompts=[], losses=[])
    frames = list(generate(open_run(recipe)))
    assert [round(float(frame.raw.mean()), 3) for frame in frames] == [0, 0.5, 1]
    assert frames[0].losses == {}
    half = open_run(recipe)
    next(generate(half))
    rest = open_run(recipe)
    rest.load_state_dict(half.state_dict())
    assert [frame.step for frame in generate(rest)] == [1, 2]
    guided = tiny_recipe(found, generator="rising")
    assert all(float(frame.losses["prompt"]) > 0 for frame in generate(open_run(guided)))
    with pytest.raises(RecipeError, match="the recipe has no prompts and no losses"):
        tiny_recipe(found, prompts=[], losses=[])


def test_a_loss_of_weight_0_is_never_called(tmp_path: Path) -> None:
    found = with_fake(tmp_path, STILL)
    loud: Any = found.find("loss", "loud").component
    loud.calls.clear()
    recipe = tiny_recipe(found, losses=[{"use": "loud", "weight": 0}])
    frames = list(generate(open_run(recipe)))
    assert loud.calls == []
    assert [float(frame.losses["loud"]) for frame in frames] == [0, 0, 0]
    recipe = tiny_recipe(found, losses=[{"use": "loud", "weight": {0: 0, 1: 0, "end": 1}}])
    list(generate(open_run(recipe)))
    assert loud.calls == [2]


def test_a_perceptor_of_weight_0_encodes_nothing(tmp_path: Path) -> None:
    perceptors = ["fake", {"use": "fake", "side": 8, "id": "second", "weight": 0}]
    run = open_run(tiny_recipe(plugins_of(), perceptors=perceptors))
    second: Any = run.perceptors["second"]
    list(generate(run))
    assert second.encoded == 0


def test_a_missing_recipe_says_so() -> None:
    from pixweave import load

    with pytest.raises(MissingError, match=r"^recipe 'nope' not found"):
        load(["nope"], plugins_of())
