"""What an editor shows: the schema in yaml-language-server, and in a strict validator.

Slow: npm installs both once, about 5 s; then node runs.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from language_server import LanguageServer, node_folder
from recipe_doubles import doubles
from test_malformed import CASES
from test_schema import BAD, BEYOND, GOOD

from pixweave.plugins import Plugins
from pixweave.recipe import builtins
from pixweave.recipe.json_schema import schema
from pixweave.recipe.schema_words import EDITOR_KEYWORDS

pytestmark = pytest.mark.slow

TOP = "pixweave: 1\nprompts: [a fox]\n"
ELSEWHERE = {
    "unclosed list2": "the server marks the line after the list",
    "unclosed quote": "the server marks the end of the text",
    "colour comment": "the server marks 'losses: [colours]', which is wrong too",
}
"""Cases of bad/cases.txt that the server marks at another line than `validate`."""


@pytest.fixture(scope="module")
def doubled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LanguageServer]:
    """A server that knows the doubles."""
    path = tmp_path_factory.mktemp("doubles") / "schema.json"
    path.write_text(json.dumps(schema(doubles())))
    with LanguageServer(path) as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LanguageServer]:
    """A server that knows all that is installed."""
    path = tmp_path_factory.mktemp("installed") / "schema.json"
    path.write_text(json.dumps(schema(Plugins.discover())))
    with LanguageServer(path) as running:
        yield running


def test_bad_recipes_are_marked_at_the_line_that_validate_names(doubled: LanguageServer) -> None:
    cases = [(name, text, message) for name, text, sets, message in CASES if not sets]
    reports = doubled.diagnostics(*(text for _, text, _ in cases))
    silent, elsewhere = set(), set()
    for (name, _, message), report in zip(cases, reports, strict=True):
        named = {int(line) for line in re.findall(r"^fox.yaml:(\d+):", message, re.MULTILINE)}
        if not report:
            silent.add(name)
        elif not named & {line for line, _ in report}:
            elsewhere.add(name)
    beyond = {name for names in BEYOND.values() for name in names}
    assert silent <= beyond | {"null key"}  # the server reads '~' as a key
    assert elsewhere == set(ELSEWHERE)
    assert len(cases) == 189
    assert len(cases) - len(silent) - len(elsewhere) >= 156


def test_good_recipes_are_not_marked(doubled: LanguageServer, server: LanguageServer) -> None:
    assert doubled.diagnostics(*GOOD) == [[]] * len(GOOD)
    recipes = [path.read_text() for path in builtins().values()]
    assert server.diagnostics(*recipes) == [[]] * len(recipes)


def test_wrong_recipes_are_marked(doubled: LanguageServer) -> None:
    silent = [
        text
        for (text, _), report in zip(BAD, doubled.diagnostics(*(t for t, _ in BAD)), strict=True)
        if not report
    ]
    assert silent == []


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (
            "losses:\n  - use: smoothnes\n",
            4,
            "must be a loss: coverage, palette, prompt, saturation, smoothness, stay, symmetry",
        ),
        ("generator:\n  use: fft\n  palette: pico-8\n", 5, "Property palette is not allowed."),
        (
            "stages:\n  - do: ranking\n",
            4,
            "must be a stage: classify, generate, index, rank, search",
        ),
        (
            "export:\n  - fox.bmp\n",
            4,
            "must be a file name in the run folder that ends in .apng, .gif, .jpeg, .jpg, .m4v, "
            ".mov, .mp4, .png, .svg, .webp, name/",
        ),
        ("export:\n  - file: fox.png\n    fps: 24\n", 5, "Property fps is not allowed."),
        ("device: gpu\n", 3, "must be auto, cpu, cuda, cuda:N or mps"),
        ("query: a fox\n", 3, "Property query is not allowed."),
        (
            "generator:\n  use: pixel\n  palette:\n    - '#zzz'\n    - '#fff'\n",
            6,
            "must be '#rrggbb' in quotes, '#rgb', a CSS name or [r, g, b]",
        ),
        ("generator:\n  grid: [0, 3]\n", 4, "Value is below the minimum of 1."),
        (
            "mask: [0, 0, 1, 0.5]\n",
            3,
            "a mask needs `start_from`: outside it the start image stays",
        ),
    ],
)
def test_one_message_names_the_mistake(
    server: LanguageServer, text: str, line: int, message: str
) -> None:
    assert server.diagnostics(TOP + text) == [[(line, message)]]


def test_inside_a_generator_use_is_offered(server: LanguageServer) -> None:
    inside = server.complete("pixweave: 1\ngenerator:\n  |\n")
    assert inside["use"] == "the name of the generator"
    assert "grid" in inside
    assert "codebook" not in inside  # a setting of another generator
    chosen = server.complete("pixweave: 1\ngenerator:\n  use: fft\n  |\n")
    assert "decay" in chosen
    assert "grid" not in chosen


@pytest.mark.parametrize(
    ("text", "name", "about"),
    [
        ("generator: |\n", "pixel", "An image of w x h cells with sharp edges at any size"),
        ("generator:\n  use: |\n", "pixel", "An image of w x h cells"),
        ("generator:\n  use: |\n", "pixweave_pixel/pixel", "An image of w x h cells"),
        ("losses:\n  - |\n", "smoothness", ""),
        ("losses:\n  - |\n", "use", "the name of the loss"),
        ("export:\n  - |\n", "picture.png", ""),
        ("export:\n  - |\n", "file", "a file in the run folder"),
        ("export:\n  - file: fox.mp4\n    |\n", "fps", ""),
        ("extends: |\n", "hello", "A sunset over the sea"),
        ("presets:\n  - |\n", "pixray", "Crops and augmentations with the statistics of Pixray"),
        ("quality: |\n", "draft", "A quick preview"),
        ("perceptors:\n  - use: open_clip\n    model: |\n", "ViT-B-32", ""),
        ("stages:\n  - do: |\n", "rank", "Sort images by prompts and losses"),
        ("do: search\n|\n", "query", ""),
        ("device: |\n", "cuda", ""),
    ],
)
def test_names_are_offered_with_what_they_are(
    server: LanguageServer, text: str, name: str, about: str
) -> None:
    offered = server.complete("pixweave: 1\n" + text)
    assert name in offered
    assert offered[name].startswith(about)


def test_settings_of_stages_are_not_offered_to_a_recipe_that_draws(server: LanguageServer) -> None:
    offered = server.complete("pixweave: 1\n|\n")
    assert "steps" in offered
    assert "query" not in offered


def test_hovering_shows_what_a_setting_is(server: LanguageServer) -> None:
    shown = server.hover("pixweave: 1\ngenerator:\n  use: pixel\n  ce|ll: hex\n")
    assert shown.startswith("#### generator pixel\n\ncell shape: square, of whole pixels;")
    shown = server.hover("pixweave: 1\ngenerator:\n  use: pixel\n  gr|id: [3, 3]\n")
    assert shown.startswith("#### generator pixel\n\nnumber of cells across and down")
    shown = server.hover("pixweave: 1\nste|ps: 3\n")
    assert shown.startswith("#### pixweave recipe\n\nnumber of optimisation steps")


STRICT = """
const Ajv = require("ajv/dist/2020");
const [schema, keywords, recipes] = JSON.parse(require("fs").readFileSync(0, "utf8"));
const ajv = new Ajv({strict: true, allowUnionTypes: true,
  strictRequired: false, strictTuples: false});
ajv.addVocabulary(keywords);
const good = ajv.compile(schema);
console.log(JSON.stringify(recipes.map(recipe => good(recipe))));
"""


@pytest.mark.parametrize("plain", [True, False])
def test_a_strict_validator_takes_it(plain: bool, tmp_path: Path) -> None:
    script = node_folder() / "strict.js"
    script.write_text(STRICT)
    keywords = [] if plain else list(EDITOR_KEYWORDS)
    recipes = [{"pixweave": 1, "prompts": ["a fox"]}, {"pixweave": 1, "stpes": 3}]
    given = json.dumps([schema(Plugins.discover(), plain=plain), keywords, recipes])
    done = subprocess.run(
        ["node", str(script)], input=given, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stderr, done.stdout) == ("", "[true,false]\n")
