"""`pixweave show`: every example is one, sections are described, and all names are listed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image

from pixweave import Plugins, load_text
from pixweave.cli import cli
from pixweave.cli.show import SECTION_EXAMPLES, describe, example
from pixweave.plugins import HOOKS, RegisteredComponent
from pixweave.recipe.section_reader import sections

PLUGINS = Plugins.discover()
IN_RECIPES = [
    registered
    for kind in HOOKS
    if kind not in ("trainer", "searcher", "executor", "codec", "sampler")
    for registered in PLUGINS.imported(kind).values()
]


def show(*words: str) -> Any:
    return CliRunner().invoke(cli, ["show", *words])


def valid(text: str, folder: Path) -> str:
    """A recipe with this line, resolved; RecipeError if it is invalid."""
    lines = {"perceptors": "perceptors: [tiny]\n", "generator": "generator: pixel\n"}
    key = text.partition(":")[0]
    rest = "".join(line for name, line in lines.items() if name != key)
    if "coverage" in text:
        rest = rest.replace("generator: pixel", "generator: {use: pixel, alpha: true}")
    if key == "mask" or "stay" in text:
        rest += "start_from: photo.png\n"
    prompts = "prompts: [a fox]\n"
    export = "" if key == "export" else "export: [a.png]\n"
    body = f"pixweave: 1\n{prompts}{rest}{export}{text}\n"
    return load_text(body, "example.yaml", folder, PLUGINS).resolved_yaml()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("photo", "logo"):
        Image.new("RGB", (32, 32), "navy").save(tmp_path / f"{name}.png")
    return tmp_path


@pytest.mark.parametrize("registered", IN_RECIPES, ids=lambda r: f"{r.kind}-{r.name}")
def test_the_example_of_a_component_runs_it(registered: RegisteredComponent, folder: Path) -> None:
    text = example(registered, PLUGINS)
    assert "..." not in text
    resolved = valid(text, folder)
    key = "do" if registered.kind == "stage" else "use"
    assert f"{key}: {registered.name} " in resolved


@pytest.mark.parametrize("name", sections())
def test_the_example_of_a_section_is_valid(name: str, folder: Path) -> None:
    text = SECTION_EXAMPLES[name]
    if name == "recipe":
        text = "\n".join(
            f"{key}: {value}"
            for key, value in {"title": "fox", "seed": 7, "size": [320, 240], "fps": 24}.items()
        )
    assert valid(text, folder)


def test_sections_are_described() -> None:
    page = show("crops").stdout
    assert page.startswith(
        "section crops\n\nThe crops of the image that perceptors encode (the cutouts of "
        "VQGAN+CLIP).\n"
    )
    assert "\n  count: number over time 1..1024 = 16\n      number of crops per step; more" in page
    assert page.endswith("in a recipe:\n  crops: {count: 32, zoomed: 0.5, turn: 15}\n")
    for name in sections():
        assert show(name).exit_code == 0
    assert show("generate").stdout.startswith("stage generate  (plugin pixweave_stages)\n")
    assert json.loads(show("optimizer", "--json").stdout)[0]["name"] == "optimizer"


def test_all_names_are_listed_and_a_wrong_one_gets_the_nearest() -> None:
    lines = dict(line.split(maxsplit=1) for line in show().stdout.splitlines())
    assert lines["section"] == "recipe, crops, optimizer, start_from, mask, overlay"
    assert lines["generator"] == "fft, pixel, strokes, vqgan"
    assert list(json.loads(show("--json").stdout)) == list(lines)
    wrong = show("crop")
    assert (wrong.exit_code, wrong.stderr) == (
        1,
        "pixweave: no component is named 'crop'; did you mean 'crops'?\n",
    )


def test_an_exporter_that_is_not_the_first_is_used_by_name(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from typing import ClassVar\nfrom pixweave import Export, hookimpl\n"
        "class Mine(Export):\n    '''Mine.'''\n"
        "    suffixes: ClassVar[tuple[str, ...]] = ('.png',)\n"
        "@hookimpl\ndef register_exporters():\n    return {'mine': Mine}\n"
    )
    plugins = Plugins.discover([tmp_path])
    page = describe(plugins.find("exporter", "mine"), plugins)
    assert page.endswith("in a recipe:\n  export: [{use: mine, file: picture.png}]")
