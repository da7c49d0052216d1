"""Malformed recipes: each gets its whole message, with file, line, column and a remedy."""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from recipe_doubles import complaint, doubles, lines, recipe

from pixweave.errors import Mark, MissingError, RecipeError
from pixweave.recipe import load, load_text

SLOWEST = 2.0  # seconds for one recipe; the slowest takes 0.1
TOP = "pixweave: 1\nprompts: [a fox]\n"


def cases() -> Iterator[tuple[str, str, tuple[str, ...], str]]:
    """Name, text, --set texts and message of every case in bad/cases.txt."""
    text = (Path(__file__).parent / "bad" / "cases.txt").read_text(encoding="utf-8")
    for block in text.split("\n=== ")[1:]:
        head, _, said = block.partition("--- said\n")
        name, _, body = head.partition("\n")
        recipe, _, sets = body.partition("--- set\n")
        yield name, recipe, tuple(sets.split("\n")[:-1]), said.removesuffix("\n")


CASES = list(cases())


def test_there_are_many_kinds_of_mistakes() -> None:
    assert len(CASES) >= 150
    assert len({name for name, *_ in CASES}) == len(CASES)


@pytest.mark.parametrize(
    ("text", "sets", "said"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_the_message_is_whole(text: str, sets: tuple[str, ...], said: str) -> None:
    start = time.perf_counter()
    assert complaint(text, *sets) == said
    assert time.perf_counter() - start < SLOWEST


HUGE = [
    (
        "alias_bomb",
        "x-a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
        + "".join(
            f"x-{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n"
            for a, b in itertools.pairwise("abcdefghij")
        ),
        "fox.yaml:7:22: the recipe has more than 50000 values, counting aliases; remove the "
        "repeated ones",
    ),
    (
        "nested",
        "x-a: " + "[" * 60 + "]" * 60,
        "fox.yaml:3:46: nested more than 40 levels deep; reduce the nesting",
    ),
    (
        "nested_beyond_the_stack",
        "x-a: " + "[" * 400_000,
        "fox.yaml:3:46: nested more than 40 levels deep; reduce the nesting",
    ),
    (
        "nested_mappings",
        "".join("  " * i + "x-a:\n" for i in range(60)),
        "fox.yaml:43:81: nested more than 40 levels deep; reduce the nesting",
    ),
    (
        "many_values",
        "x-a: [" + "1, " * 60_000 + "1]",
        "fox.yaml:3:149983: the recipe has more than 50000 values, counting aliases; "
        "remove the repeated ones",
    ),
    (
        "long_number",
        "seed: " + "9" * 5000,
        f"fox.yaml:3:7: '{'9' * 57}...' is not a finite number; if it is a colour or a name, put "
        "it in quotes",
    ),
    (
        "long_expression",
        "crops: {count: " + "1+" * 400 + "1}",
        "fox.yaml:3:16: 'crops.count' is an expression of 801 characters; the limit is 500",
    ),
    (
        "long_name",
        "crops: {" + "a" * 100_000 + ": 3}",
        "fox.yaml:3:8: this mapping has no closing '}', or a ',' is missing in it; add it",
    ),
    (
        "parentheses",
        "crops: {count: " + "(" * 240 + "1" + ")" * 240 + "}",
        f"fox.yaml:3:16: 'crops.count' is neither a number nor a valid expression: "
        f"'{'(' * 57}...'; write one like '0.5 + 0.2 * sin(t)'",
    ),
    (
        "input_bomb",
        "inputs: {a: t + 1, "
        + ", ".join(f"{b}: {a} * {a}" for a, b in itertools.pairwise("abcdeghijklmnoqrsuvwxyz"))
        + "}",
        "fox.yaml:3:103: 'inputs.k' is not a finite number (inf) at step 72 (3 s)",
    ),
    (
        "slow_steps",
        "steps: 100000\ncrops: {count: '" + " + ".join(["sin(t)"] * 50) + " + 50'}",
        f"fox.yaml:4:16: 'crops.count' must be between 1 and 1024; '{'sin(t) + ' * 6}sin...' is "
        "0.5267 at step 562 (23.4 s)",
    ),
]


@pytest.mark.parametrize(("text", "said"), [h[1:] for h in HUGE], ids=[h[0] for h in HUGE])
def test_huge_things_are_refused_in_time(text: str, said: str) -> None:
    start = time.perf_counter()
    assert complaint(TOP + text) == said
    assert time.perf_counter() - start < SLOWEST


def broken(tmp_path: Path, data: bytes, name: str = "fox.yaml") -> str:
    """What is said about a file with these bytes, without its folder."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises(RecipeError) as error:
        load([tmp_path / name], doubles())
    return str(error.value).replace(f"{tmp_path}{os.sep}", "")


BYTES = [
    (
        "latin_1",
        "pixweave: 1\ntitle: Füchse\n".encode("latin-1"),
        "fox.yaml:2:9: byte 0xfc is not valid UTF-8; save the file as UTF-8",
    ),
    (
        "a_picture",
        b"\x89PNG\r\n\x1a\n",
        "fox.yaml:1:1: byte 0x89 is not valid UTF-8; save the file as UTF-8",
    ),
    (
        "half_utf_16",
        b"\xff\xfea",
        "fox.yaml:1:1: byte 0x61 is not valid UTF-16; save the file as UTF-8",
    ),
    ("zeros", b"\0\0\0\0", "fox.yaml:1:1: the character U+0000 is not allowed; remove it"),
    (
        "bell",
        b"pixweave: 1\ntitle: a\x07b\n",
        "fox.yaml:2:9: the character U+0007 is not allowed; remove it",
    ),
    (
        "surrogate",
        b"title: \xed\xa0\x80",
        "fox.yaml:1:8: byte 0xed is not valid UTF-8; save the file as UTF-8",
    ),
    (
        "utf_16_and_wrong",
        "pixweave: 1\nstpes: 3\nprompts: [a]\n".encode("utf-16"),
        "fox.yaml:2:1: 'stpes' is not a recipe key; did you mean 'steps'?",
    ),
    (
        "bom_and_wrong",
        "\ufeffpixweave: 1\nstpes: 3\nprompts: [a]\n".encode(),
        "fox.yaml:2:1: 'stpes' is not a recipe key; did you mean 'steps'?",
    ),
    (
        "windows_lines",
        b"pixweave: 1\r\nprompts: [a]\r\nstpes: 3\r\n",
        "fox.yaml:3:1: 'stpes' is not a recipe key; did you mean 'steps'?",
    ),
    (
        "umlaut_before",
        "pixweave: 1\nprompts: [Füchse, {txt: a}]\n".encode(),
        "fox.yaml:2:20: loss 'prompt' has no setting 'txt'; did you mean 'text'?",
    ),
]


@pytest.mark.parametrize(("data", "said"), [b[1:] for b in BYTES], ids=[b[0] for b in BYTES])
def test_bytes_that_are_not_a_recipe(tmp_path: Path, data: bytes, said: str) -> None:
    assert broken(tmp_path, data) == said


def test_a_file_of_50_mb_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "fox.yaml"
    with path.open("wb") as file:
        file.truncate(50_000_000)
    start = time.perf_counter()
    with pytest.raises(RecipeError) as error:
        load([path], doubles())
    assert str(error.value) == (
        f"{path}:1:1: the file has 50 MB; the limit for recipes is 1 MB; check that it is a recipe"
    )
    assert time.perf_counter() - start < 0.5


def test_an_endless_file_is_refused() -> None:
    with pytest.raises(RecipeError) as error:
        load(["/dev/zero"], doubles())
    assert str(error.value) == (
        "/dev/zero:1:1: the file has over 1 MB; the limit for recipes is 1 MB; check that it "
        "is a recipe"
    )


def test_a_folder_is_not_a_recipe(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as error:
        load([tmp_path], doubles())
    assert str(error.value) == f"{tmp_path}: is a folder; give the path of a recipe in it"


def test_a_missing_recipe_names_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fox.yaml").write_text(TOP)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MissingError) as error:
        load(["fxo.yaml"], doubles())
    assert str(error.value) == "recipe 'fxo.yaml' not found; did you mean 'fox.yaml'?"


def test_recipes_that_extend_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text("pixweave: 1\nextends: b.yaml\nprompts: [a]\n")
    Path("b.yaml").write_text("pixweave: 1\nextends: [c.yaml]\n")
    Path("c.yaml").write_text("pixweave: 1\nextends: a.yaml\n")
    with pytest.raises(RecipeError) as error:
        load(["a.yaml"], doubles())
    assert str(error.value) == (
        "c.yaml:2:10: circular 'extends': a.yaml -> b.yaml -> c.yaml -> a.yaml; remove one of them"
    )


def test_a_recipe_that_extends_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for i in range(12):  # each extends the next one twice: 4096 layers
        Path(f"{i}.yaml").write_text(f"pixweave: 1\nextends: [{i + 1}.yaml, {i + 1}.yaml]\n")
    Path("12.yaml").write_text(TOP)
    with pytest.raises(RecipeError) as error:
        load(["0.yaml"], doubles())
    assert "the recipe has more than 64 layers; extend fewer files" in str(error.value)


def test_mistakes_in_files_that_are_extended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("base").mkdir()
    Path("base/one.yaml").write_text("pixweave: 1\nsteps: none\nsize: [300, 8]\n")
    Path("base/two.yaml").write_text("crops: {count: 3,\n")
    Path("a.yaml").write_text("pixweave: 1\nextends: base/one.yaml\nprompts: [a]\nsteps: 3\n")
    Path("b.yaml").write_text("pixweave: 1\nextends: [base/two.yaml, three.yaml]\nprompts: [a]\n")
    with pytest.raises(RecipeError) as first:
        load(["a.yaml"], doubles())
    assert str(first.value) == (
        "base/one.yaml:3:7: 'size' must have sides between 16 and 8192 pixels, not 8"
    )
    with pytest.raises(RecipeError) as second:
        load(["b.yaml"], doubles())
    assert str(second.value) == lines(
        "b.yaml:2:26: recipe 'three.yaml' not found; 'pixweave ls' lists the built-in recipes",
        "base/two.yaml:2:1: a value is missing here, or a ']' or '}' before it; add it",
    )


def test_missing_inputs_name_the_nearest_file(tmp_path: Path) -> None:
    (tmp_path / "fox.jpg").write_bytes(b"")
    (tmp_path / "refs").mkdir()
    text = "pixweave: 1\nprompts: [{image: fxo.jpg}, {image: refs}, {image: refs/a.png}]\n"
    assert complaint(text, folder=tmp_path) == lines(
        "fox.yaml:2:19: 'image' of loss 'prompt' names the file 'fxo.jpg', which does not exist; "
        "did you mean 'fox.jpg'?",
        "fox.yaml:2:37: 'image' of loss 'prompt' must be a file; 'refs' is a folder",
        "fox.yaml:2:52: 'image' of loss 'prompt' names the file 'refs/a.png', which does not "
        "exist; "
        f"no similar name in {tmp_path}/refs",
    )


def test_everything_is_said_at_once_in_the_order_of_lines() -> None:
    text = "stpes: 3\ngenerator: {use: pixel, gird: [2, 2]}\nprompts: [{txt: a}]\nfps: 0\n"
    assert complaint(text, "seed=-1") == lines(
        "--set seed=-1: 'seed' must be a whole number from 0 to 9223372036854775807, or 'random', "
        "not -1",
        "fox.yaml:1:1: the recipe format version is missing; add 'pixweave: 1' as the first line",
        "fox.yaml:1:1: 'stpes' is not a recipe key; did you mean 'steps'?",
        "fox.yaml:2:25: generator 'pixel' has no setting 'gird'; did you mean 'grid'?",
        "fox.yaml:3:12: loss 'prompt' has no setting 'txt'; did you mean 'text'?",
        "fox.yaml:4:6: 'fps' must be above 0 and at most 1000, not 0",
    )


SCRAPS = [
    "weight",
    *"{}[]:#'\"|?@,~2",
    " ",
    "\n",
    "- ",
    "&a",
    "*a",
    "null",
    "1e9",
    "{}",
    "[]",
    "use",
    "9" * 20,
    "\t",
    "é",
    "> ",
    "!x",
    "3s",
    "50%",
    "end",
    "ease",
    "sin(t)",
    "a: b",
    "[[1]]",
    "[{}]",
    "{a: {b: c}}",
    "steps",
    "\u2028",
]
SPOTS = [
    "prompts.0",
    "losses",
    "losses.0.weight",
    "generator",
    "generator.grid.0",
    "crops.count.0",
    "export.0",
    "inputs.speed",
    "optimizer",
    "extends",
    "quality",
    "presets",
    "size",
    "seed",
    "augmentations.0",
    "prompts",
    "a.b.c",
    "losses.9",
    "pixweave",
    "title.x",
]
WHOLE = """pixweave: 1
size: 16:9
inputs: {speed: 2, wave: sin(speed * t)}
prompts: [a fox, {text: "blurry: #1", weight: -0.5}]
losses:
  - {use: smoothness, weight: {0: 0, 50%: {value: 1, ease: hold}}, amount: p}
generator: {use: other, grid: [16, 9], codebook: 3}
optimizer: {use: sgd, rate: 0.1 * (1 - p)}
crops: {count: {0: 4, end: 8}, batch: 3}
export: [fox.png, {file: fox.gif, fps: 12}]
"""


def test_random_mistakes_never_break_anything() -> None:
    rng = random.Random(7)
    plugins, fine = doubles(), 0
    marks: list[Mark] = []
    for _ in range(250):
        text, sets = WHOLE, []
        for _ in range(rng.randint(0, 2)):
            at = rng.randrange(len(text))
            text = text[:at] + rng.choice(SCRAPS) + text[at + rng.choice([0, 0, 1, 3, 9]) :]
        if rng.random() < 0.5:
            change = rng.choice(["{}={}", "{}+={}", "~{}"])
            sets.append(change.format(rng.choice(SPOTS), rng.choice(SCRAPS)))
        try:
            made = recipe(text, *sets, plugins=plugins)
        except RecipeError as error:
            marks += [problem.where for problem in error.issues]
            continue
        assert load_text(made.resolved_yaml(), "again", Path("/nowhere"), plugins) == made
        fine += 1
    assert fine > 40
    assert all(mark.line or mark.source.startswith("--set") for mark in marks)
