"""The JSON Schema of everything installed, judged by an independent validator and by `validate`."""

from __future__ import annotations

import contextlib
import copy
import json
import random
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError
from PIL import Image
from recipe_doubles import complaint, doubles
from test_load import FULL
from test_malformed import CASES

from pixweave.component import Component, Field
from pixweave.errors import RecipeError
from pixweave.hookspecs import hookimpl
from pixweave.plugins import Plugins
from pixweave.recipe import builtins, load, load_text
from pixweave.recipe.json_schema import schema
from pixweave.recipe.nodes import parse
from pixweave.recipe.schema_words import EDITOR_KEYWORDS
from pixweave.train import config_schema

TOP = "pixweave: 1\nprompts: [a fox]\n"


@cache
def validator(installed: bool) -> Draft202012Validator:
    """A validator of the schema of all that is installed, or of the doubles."""
    return Draft202012Validator(schema(Plugins.discover() if installed else doubles()))


def plain(text: str) -> Any:
    """The data of a recipe, as an editor reads it; an empty recipe where it cannot."""
    try:
        return parse(text, "fox.yaml", Path()).plain()
    except RecipeError:
        with contextlib.suppress(yaml.YAMLError):
            return yaml.safe_load(text) or {"pixweave": 1}
        return {"pixweave": 1}


def said(text: str, installed: bool = False) -> list[str]:
    """What the independent validator finds wrong with a recipe: the places."""
    found = [place for e in validator(installed).iter_errors(plain(text)) for place in places(e)]
    return list(dict.fromkeys(found))


def places(error: ValidationError) -> list[str]:
    """Where an error is: of alternatives, the one that fits best."""
    if not error.context:
        return [".".join(map(str, error.absolute_path))]
    best = max(len(inner.absolute_path) for inner in error.context)
    return [p for e in error.context if len(e.absolute_path) == best for p in places(e)]


def keywords(part: Any) -> Iterator[str]:
    """Every key of a schema and of all that is in it."""
    if isinstance(part, dict):
        yield from part
        for inner in part.values():
            yield from keywords(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from keywords(inner)


@pytest.mark.parametrize(
    "plugins", [doubles(), Plugins.discover(), Plugins.discover(entry_points=False)]
)
def test_the_schema_is_a_schema(plugins: Plugins) -> None:
    made, strict = schema(plugins), schema(plugins, plain=True)
    for one in (made, strict):
        Draft202012Validator.check_schema(one)
        assert json.loads(json.dumps(one)) == one
        assert not [key for key in keywords(one) if key.startswith("x-")]
    assert not set(EDITOR_KEYWORDS) & set(keywords(strict))


def test_only_the_words_of_editors_are_beyond_json_schema() -> None:
    assert set(EDITOR_KEYWORDS) <= set(keywords(schema(Plugins.discover())))


def test_every_key_and_every_setting_is_described() -> None:
    made = schema(Plugins.discover())
    places = {"top level": made, **made["$defs"]}
    for name, place in places.items():
        for key, setting in place.get("properties", {}).items():
            if isinstance(setting, dict) and not setting.get("$ref", "").count("/properties/"):
                assert setting.get("description"), f"{name}: {key}"


def test_every_definition_has_a_title() -> None:
    made = schema(Plugins.discover())
    without = [name for name, each in made["$defs"].items() if not each.get("title")]
    assert without == []
    assert made["$defs"]["loss.smoothness"]["title"] == "loss smoothness"


@pytest.mark.parametrize("name", builtins())
def test_it_accepts_every_recipe_that_ships(name: str) -> None:
    assert said(builtins()[name].read_text(), installed=True) == []


@pytest.mark.parametrize(
    "text", [FULL, TOP + "generator: {codebook: 3}\nextends: [hello, a.yaml]\nquality: best\n"]
)
def test_it_accepts_what_needs_files(text: str) -> None:
    assert said(text) == []


GOOD = [
    TOP,
    TOP + "perceptors: [{use: tiny, weight: 1 + t, id: eye}]\n",
    TOP + "generator: {grid: [3, 3]}\n",
    TOP + "losses: [{use: doubles/smoothness}]\ndevice: cuda:1\nseed: random\n",
    TOP + "losses: [doubles/smoothness]\ngenerator: doubles/other\n",
    TOP + "optimizer: sgd\nx-a: {b: c}\nsize: 640x360\n",
    TOP + "size: 0640 X 360\n",
    TOP + "size: 4.5:3\n",
    TOP + "size: [64.0, 64]\nseed: 1.0\n",
    TOP + "crops: {count: {0: 1, 50%: {value: 2, ease: hold}, ease: smooth}}\n",
    TOP + "crops: {count: {start: 1, 100.0%: 2}}\n",
    TOP + "crops: {count: '8 + 4 * (t > 1) if p < .5 else max(4, floor(8.))'}\n",
    TOP + "losses:\nfilters:\nmask:\nstart_from:\n",
    TOP + "export: [FOX.PNG, Fox.Gif, a/fox.mp4, ./b/./c..d.png]\n",
    TOP + "export: [{file: FOX.MP4, fps: 24}, {use: film}, {use: doubles/png, file: a.png}]\n",
    TOP + "inputs: {speed: 2, a_b: speed * t}\n",
    TOP + "generator: {use: pixel, palette: [red, '#fff']}\n",
    "pixweave: 1\nprompts: a fox\n",
    "pixweave: 1\nprompts: {text: a fox}\n",
    "pixweave: 1\nprompts: {text: a fox, weight: 2, id: a}\n",
    "pixweave: 1\nprompts: [a fox, {text: a dog, weight: {0: 1, end: 0}}]\n",
    "pixweave: 1\nprompts: [{use: smoothness, amount: 0.1}]\n",
    "pixweave: 1.0\nprompts: [a fox]\n",
    TOP + "seed: 0x10\n",
    TOP + "do: generate\n",
    TOP + "stages: [generate]\n",
    TOP + "stages: [pixweave_stages/generate]\n",
    TOP + "stages: [{do: pixweave_stages/generate, seeds: 2}]\n",
    TOP + "stages: [{do: generate, seeds: 4}, {do: rank, prompts: a fox, keep: 2}]\n",
    TOP + "title: '2024'\nprecision: float16\n",
]


@pytest.mark.parametrize("text", GOOD)
def test_schema_and_validate_accept_what_is_right(text: str) -> None:
    assert said(text) == []
    load_text(text, "fox.yaml", Path("/nowhere"), doubles())


@pytest.mark.parametrize(
    "text",
    [
        TOP + "export: [frames/, fox.JPG, {file: fox.apng}]\n",
        TOP + "generator: pixweave_pixel/pixel\nlosses: [pixweave_image_losses/smoothness]\n",
        TOP + "generator: {use: pixel, palette: pico-8}\n",
        "pixweave: 1\ndo: search\ninput: fox.png\nquery: a fox\n",
        "pixweave: 1\ndo: pixweave_stages/rank\ninput: [fox.png]\nprompts: [a fox]\nkeep: 1\n",
        "pixweave: 1\ndo: rank\ninput: [fox.png]\nprompts: [a fox]\n",
        "pixweave: 1\ndo: classify\ninput: [fox.png]\nlabels: [a, b]\nsort_into: by-label\n",
        "pixweave: 1\ndo: classify\ninput: fox.png\nclassifier: {use: zero_shot, labels: [a, b]}\n",
        "pixweave: 1\ndo: index\ninput: [fox.png]\nindex: photos\n",
    ],
)
def test_both_accept_what_is_right_with_all_plugins(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (16, 16)).save("fox.png")
    assert said(text, installed=True) == []
    load_text(text, "fox.yaml", tmp_path, Plugins.discover())


BAD = [
    ("prompts: [a]\n", ""),
    ("pixweave: 2\n", "pixweave"),
    (TOP + "stpes: 3\n", ""),
    (TOP + "steps: 0\n", "steps"),
    (TOP + "steps: '3'\n", "steps"),
    (TOP + "size: big\n", "size"),
    (TOP + "size: 99999x64\n", "size"),
    (TOP + "seed: -1\n", "seed"),
    (TOP + "device: gpu\n", "device"),
    (TOP + "quality: fast\n", "quality"),
    (TOP + "crops: {cuont: 3}\n", "crops"),
    (TOP + "crops: {count: 5000}\n", "crops.count"),
    (TOP + "crops: {count: {2m: 3}}\n", "crops.count"),
    (TOP + "crops: {count: {0: 3, ease: smoth}}\n", "crops.count.ease"),
    (TOP + "crops: {count: {0: 3, end: 5000}}\n", "crops.count.end"),
    (TOP + "optimizer: adma\n", "optimizer"),
    (TOP + "generator: pixl\n", "generator"),
    (TOP + "generator: {use: pixel, gird: [3, 3]}\n", "generator"),
    (TOP + "generator: {gird: [3, 3]}\n", "generator"),
    (TOP + "generator: {codebook: 3}\n", "generator"),
    (TOP + "generator: {use: pixel, weight: 2}\n", "generator"),
    (TOP + "losses: smoothness\n", "losses"),
    (TOP + "losses: [smoothnes]\n", "losses.0"),
    (TOP + "losses: [{use: smoothnes}]\n", "losses.0.use"),
    (TOP + "losses: [colours]\n", "losses.0"),
    (TOP + "losses: [{use: smoothness, amount: 2}]\n", "losses.0.amount"),
    (TOP + "losses: [{use: smoothness, kind: eges}]\n", "losses.0.kind"),
    (TOP + "losses: [{use: smoothness, weight: sine(t)}]\n", "losses.0.weight"),
    (TOP + "augmentations: [{use: jitter, weight: 2}]\n", "augmentations.0"),
    (TOP + "export: [fox.txt]\n", "export.0"),
    (TOP + "export: [{file: a.mp4, fsp: 3}]\n", "export.0"),
    (TOP + "export: [{file: fox.png, fps: 24}]\n", "export.0"),
    (TOP + "export: [../fox.png]\n", "export.0"),
    (TOP + "export: [a/.fox.png]\n", "export.0"),
    (TOP + "export: [{use: png, file: ../fox.png}]\n", "export.0.file"),
    (TOP + "export: [/fox.png]\n", "export.0"),
    (TOP + "export: ['a:b.png']\n", "export.0"),
    (TOP + "do: paint\n", "do"),
    (TOP + "query: a fox\n", ""),
    (TOP + "stages: [{do: ranking}]\n", "stages.0.do"),
    (TOP + "stages: [generate, {do: generate}]\n", "stages.1.do"),
    (TOP + "do: rank\nstages: [generate]\n", ""),
    ("pixweave: 1\nprompts: [{txt: a}]\n", "prompts.0"),
    ("pixweave: 1\nprompts: [3]\n", "prompts.0"),
    ("pixweave: 1\nprompts: ['']\n", "prompts.0"),
]


@pytest.mark.parametrize(("text", "where"), BAD)
def test_schema_and_validate_refuse_what_is_wrong(text: str, where: str) -> None:
    assert where in said(text)
    assert complaint(text)


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("generator: {use: pixel, palette: ['#zzz', '#fff']}\n", "generator.palette.0"),
        ("generator: {use: pixel, grid: [0, 3]}\n", "generator.grid.0"),
        ("generator: {use: fft, palette: pico-8}\n", "generator"),
        ("export: [{file: fox.gif, file: 3}]\n".replace("file: fox.gif, ", ""), "export.0.file"),
        ("start_from: {noise: 2}\n", "start_from.noise"),
    ],
)
def test_both_refuse_what_is_wrong_with_all_plugins(text: str, where: str) -> None:
    assert where in said(TOP + text, installed=True)
    with pytest.raises(RecipeError):
        load_text(TOP + text, "fox.yaml", Path("/nowhere"), Plugins.discover())


BEYOND = {
    "YAML: the text has no data, or the editor reads it otherwise": (
        *("empty", "only comments", "tab indent", "tab after dash", "two docs", "merge"),
        *("dup", "dup nested", "tag", "tag2", "unknown alias", "recursive"),
        *("unclosed list", "unclosed list2", "unclosed quote", "at", "backtick", "percent"),
        *("colon", "missing colon", "indent", "list in map", "apos", "nan"),
        *("colour flow", "complex key"),
    ),
    "a preset, or a recipe for others to extend, has no wish": (
        *("no wish", "no wish null", "no wish empty"),
    ),
    "files, and recipes that may be files": (
        *("preset", "extends", "prompt image", "home of nobody", "start from nothing there"),
    ),
    "names that are given elsewhere in the recipe": (
        *("id twice", "prompt weight", "expr name", "expr near", "input later", "input self"),
    ),
    "the order of two numbers": ("crops area",),
    "the time of a step": ("key twice",),
    "the value of an expression": (
        *("expr args", "expr div", "expr range", "expr power", "expr sqrt", "weight expr"),
    ),
    "what a component itself checks": ("check", "size that cannot be"),
}
"""What a schema cannot know, and the cases of bad/cases.txt that need it."""


def test_the_schema_flags_every_bad_case_that_a_schema_can_know() -> None:
    beyond = {name for names in BEYOND.values() for name in names}
    silent, walked = set(), 0
    for name, text, sets, _ in CASES:
        if sets:  # a mistake on the command line
            continue
        walked += 1
        if not said(text):
            silent.add(name)
    assert silent == beyond
    assert walked == 189
    assert walked - len(silent) >= 130


VALUES: list[Any] = [
    *(None, True, 0, -1, 1.5, 1e39, "", "x", [], ["a"], {}, {"a": 1}, [["a"]], [None]),
    *([{"a": [1]}], {"a": {"b": []}}),
    *({"0": 1, "ease": []}, {"0": {"value": 1, "ease": {"a": 1}}}),
]
DIFFER = (
    r"the recipe has no (prompts and no losses|prompt to sample for)",
    r"the recipe has no start_from",
    r"with 0 <= left < right <= 1|<= low <= high <=|is not a valid range in %",
    r"uses the unknown name 'x'",
    r"which does not exist|names '.*', which does not exist",
    r"the stages after 'generate' have no image to work on",
    r"it is the first stage and has no images",
    r"set either labels or labels_file|a single label always wins",
    r"makes no transparency here",
    r"open_clip has no architecture|has no weights 'x'|needs weights; set pretrained",
)
"""What `validate` says where the schema is silent: files, names, rules between settings."""


def spots(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in a recipe."""
    for key, inner in data.items() if isinstance(data, dict) else enumerate(data):
        yield (*path, key)
        if isinstance(inner, (dict, list)):
            yield from spots(inner, (*path, key))


def wrong_values() -> Iterator[tuple[Path, Any, str]]:
    """Every recipe that ships, with every value replaced by every other kind of value."""
    for name, path in builtins().items():
        if name.startswith("presets/"):  # they have no prompts
            continue
        good = json.loads(json.dumps(yaml.safe_load(path.read_text())))
        for spot in spots(good):
            for value in VALUES:
                data = copy.deepcopy(good)
                inner = data
                for key in spot[:-1]:
                    inner = inner[key]
                inner[spot[-1]] = value
                yield path, data, f"{name}: {'.'.join(map(str, spot))} = {value!r}"


def compare(every: list[tuple[Path, Any, str]]) -> None:
    """Schema and `validate` agree on each; `validate` raises RecipeError and nothing else."""
    plugins, differ = Plugins.discover(), []
    for path, data, about in every:
        wrong = ""
        try:
            load_text(json.dumps(data), "fox.yaml", path.parent, plugins)
        except RecipeError as error:
            wrong = str(error)
        places = [line for line in wrong.splitlines() if not line.startswith("fox.yaml:1:")]
        known = re.search("|".join(DIFFER), wrong)
        if places or "bug in the plugin" in wrong:
            differ.append(f"{about}: {wrong}")
        elif validator(True).is_valid(data) == bool(wrong) and not known:
            differ.append(f"{about}: {wrong or 'validate accepts it'}")
    assert differ == []


def test_schema_and_validate_agree_on_wrong_values() -> None:
    compare(random.Random(12).sample(list(wrong_values()), 200))


@pytest.mark.slow
def test_schema_and_validate_agree_on_all_wrong_values() -> None:
    every = list(wrong_values())
    assert len(every) > 10_000
    compare(every)


def test_a_resolved_recipe_follows_it() -> None:
    made = load([builtins()["hello"]], Plugins.discover()).resolved()
    assert validator(True).is_valid(json.loads(json.dumps(made)))


def test_two_plugins_may_offer_one_name() -> None:
    class Flat(Component):
        """Another smoothness."""

        depth: int = Field(1, ge=1, description="how deep")

        def build(self, run: Any) -> Any:
            raise NotImplementedError

    class Second:
        @hookimpl
        def register_losses(self) -> dict[str, type[Component]]:
            return {"smoothness": Flat}

    plugins = doubles()
    plugins.add(Second(), "my second one")
    made = Draft202012Validator(schema(plugins))

    def accepts(**loss: Any) -> bool:
        return made.is_valid({"pixweave": 1, "prompts": ["a fox"], "losses": [loss]})

    assert accepts(use="my second one/smoothness", depth=2)
    assert not accepts(use="my second one/smoothness", depth=0)
    assert not accepts(use="my second one/smoothness", amount=0.5)
    assert accepts(use="doubles/smoothness", amount=0.5)
    assert not accepts(use="doubles/smoothness", depth=2)


def test_recipes_of_plugins_are_offered(tmp_path: Path) -> None:
    (tmp_path / "dusk.yaml").write_text("# A red evening.\npixweave: 1\nprompts: [dusk]\n")

    class Evenings:
        @hookimpl
        def register_recipes(self) -> dict[str, Path]:
            return {"dusk": tmp_path / "dusk.yaml"}

    plugins = doubles()
    plugins.add(Evenings(), "evenings")
    offered = schema(plugins)["properties"]["extends"]["anyOf"][0]
    texts = dict(zip(offered["enum"], offered["markdownEnumDescriptions"], strict=True))
    assert texts["dusk"] == texts["evenings/dusk"] == "A red evening."


@pytest.mark.parametrize("name", ["clip", "dalle", "vqgan"])
def test_a_trainer_has_a_schema_of_its_configuration(name: str) -> None:
    made = Draft202012Validator(config_schema.schema(Plugins.discover(), name))
    Draft202012Validator.check_schema(made.schema)
    shipped = Path(__file__).parent.parent / "training" / f"tiny-{name}.yaml"
    good = yaml.safe_load(shipped.read_text())
    assert list(made.iter_errors(good)) == []
    wrong = [{**good, **bad} for bad in ({"stpes": 3}, {"steps": 0}, {"seed": -1}, {"data": 3})]
    assert [made.is_valid(data) for data in wrong] == [False] * 4
