"""The verbs that look at recipes: what they print, where, and how they exit."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from recipe_doubles import doubles, lines

from pixweave.cli import Verbs, cli
from pixweave.cli.state import State
from pixweave.plugins import Plugins
from pixweave.recipe import builtins, load, load_text

TOP = "pixweave: 1\nprompts: [a fox]\n"


class WithDoubles(State):
    """The verbs' state, with the doubles for plugins."""

    def plugins(self) -> Plugins:
        return doubles()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*args: str, given: str | None = None) -> Result:
    """A verb of `pixweave`, with the doubles for plugins."""
    return CliRunner().invoke(cli, list(args), obj=WithDoubles(), input=given)


def test_the_verbs_are_on_the_command_line() -> None:
    assert isinstance(cli, Verbs)
    verbs = cli.all_commands()
    assert {"validate", "explain", "ls", "cat", "cp", "schema", "show"} <= set(verbs)
    assert all(isinstance(verb, click.Command) and verb.help for verb in verbs.values())
    assert {name: verb.name for name, verb in verbs.items()} == {name: name for name in verbs}


def test_validate_says_ok(here: Path) -> None:
    Path("a.yaml").write_text(TOP)
    Path("b.yaml").write_text(TOP + "size: 256\ngenerator: {use: pixel, grid: [48, 48]}\n")
    found = run("validate", "a.yaml", "b.yaml")
    assert (found.exit_code, found.stdout) == (0, "ok a.yaml\nok b.yaml\n")
    assert found.stderr == (
        "warning: b.yaml:3:7: size 256x256 becomes 240x240, the nearest size that generator "
        "'pixel' "
        "supports\n"
    )


def test_validate_says_all_that_is_wrong_with_every_recipe(here: Path) -> None:
    Path("a.yaml").write_text(TOP + "steps: 0\nstpes: 3\n")
    Path("b.yaml").write_text(TOP)
    found = run("validate", "a.yaml", "b.yaml", "c.yaml")
    assert (found.exit_code, found.stdout) == (3, "ok b.yaml\n")
    assert found.stderr == lines(
        "a.yaml:3:8: 'steps' must be between 1 and 100000, not 0",
        "a.yaml:4:1: 'stpes' is not a recipe key; did you mean 'steps'?",
        "recipe 'c.yaml' not found; 'pixweave ls' lists the built-in recipes\n",
    )
    assert run("validate", "c.yaml").exit_code == 4


def test_validate_reads_stdin_and_set(here: Path) -> None:
    assert run("validate", "-", given=TOP).stdout == "ok -\n"
    found = run("validate", "-", "-s", "steps=0", given=TOP)
    assert (found.exit_code, found.stderr) == (
        3,
        "--set steps=0: 'steps' must be between 1 and 100000, not 0\n",
    )


def test_validate_in_json(here: Path) -> None:
    Path("a.yaml").write_text(TOP + "stpes: 3\n")
    found = run("validate", "a.yaml", "--json")
    assert (found.exit_code, json.loads(found.stdout)) == (
        3,
        {
            "event": "validated",
            "recipe": "a.yaml",
            "ok": False,
            "warnings": [],
            "problems": [
                {
                    "file": "a.yaml",
                    "line": 3,
                    "column": 1,
                    "message": "'stpes' is not a recipe key",
                    "hint": "did you mean 'steps'?",
                }
            ],
        },
    )


def test_explain_shows_values_and_origins(here: Path) -> None:
    Path("a.yaml").write_text(TOP + "quality: draft\n")
    found = run("explain", "a.yaml", "crops", "-s", "crops.turn=5")
    rows = [line.split(None, 1) for line in found.stdout.splitlines()]
    assert rows[0] == ["crops.count", "8             preset draft"]
    assert ["crops.turn", "5.0           --set"] in rows
    assert ["crops.area", "[0.5, 0.95]   default"] in rows
    listed: Any = json.loads(run("explain", "a.yaml", "steps", "--json").stdout)
    assert listed == [{"path": "steps", "value": 80, "origin": "preset draft"}]


def test_explain_names_the_nearest_key(here: Path) -> None:
    Path("a.yaml").write_text(TOP)
    found = run("explain", "a.yaml", "crops.cuont")
    assert (found.exit_code, found.stderr) == (
        1,
        "pixweave: the recipe has no 'crops.cuont'; did you mean 'crops.count'?\n",
    )
    Path("b.yaml").write_text("prompts: [a]\n")
    assert run("explain", "b.yaml").exit_code == 3


def test_ls_lists_presets_apart() -> None:
    found = run("ls").stdout
    recipes, _, presets = found.partition("\n\n")
    assert "presets/" not in recipes
    assert "hello " in recipes
    assert presets.startswith("presets, used with")
    assert presets.count("presets/") == sum(n.startswith("presets/") for n in builtins())
    assert all(row["about"] for row in json.loads(run("ls", "--json").stdout))


def test_cat_prints_a_recipe_as_it_is() -> None:
    assert run("cat", "hello").stdout == builtins()["hello"].read_text()
    assert run("cat", "presets/draft.yaml").stdout == builtins()["presets/draft"].read_text()
    found = run("cat", "helo")
    assert (found.exit_code, found.stderr) == (
        4,
        "pixweave: built-in recipe 'helo' not found; did you mean 'hello'?\n",
    )


def test_cp_never_overwrites_unasked(here: Path) -> None:
    assert run("cp", "hello").stdout == "hello.yaml\n"
    assert Path("hello.yaml").read_bytes() == builtins()["hello"].read_bytes()
    Path("hello.yaml").write_text("mine")
    found = run("cp", "hello")
    assert (found.exit_code, found.stderr) == (
        1,
        "pixweave: 'hello.yaml' already exists; use --force to replace it\n",
    )
    assert Path("hello.yaml").read_text() == "mine"
    assert run("cp", "hello", "--force").exit_code == 0
    assert run("cp", "hello", "new.yaml").stdout == "new.yaml\n"
    assert run("cp", "hello", "nowhere/a.yaml").exit_code == 1
    assert sorted(path.name for path in here.iterdir()) == ["hello.yaml", "new.yaml"]
    assert stat.S_IMODE(Path("new.yaml").stat().st_mode) & 0o444


def test_cp_brings_the_pictures_that_a_recipe_names(here: Path) -> None:
    made = ["sky.yaml", "pictures/valley.png", "pictures/sky.png"]
    assert run("cp", "sky").stdout.splitlines() == made
    for name in made[1:]:
        assert Path(name).read_bytes() == (builtins()["sky"].parent / name).read_bytes()
    assert load(["sky.yaml"], Plugins.discover()).warnings == ()
    assert run("cp", "sky", "other.yaml").exit_code == 0  # the same pictures may be there
    Path("pictures/sky.png").write_text("mine")
    found = run("cp", "sky", "third.yaml")
    assert (found.exit_code, found.stderr) == (
        1,
        "pixweave: 'pictures/sky.png' already exists; use --force to replace it\n",
    )


def test_schema_goes_to_stdout_or_a_file(here: Path) -> None:
    assert run("schema", "-o", "s.json").stdout == "s.json\n"
    assert run("schema", "-o", "s.json").exit_code == 0
    assert json.loads(Path("s.json").read_text()) == json.loads(run("schema").stdout)


def test_schema_is_plain_or_of_a_trainer_on_request() -> None:
    assert "patternErrorMessage" in run("schema").stdout
    assert "patternErrorMessage" not in run("schema", "--plain").stdout
    found = CliRunner().invoke(cli, ["schema", "--train", "clip"])  # the doubles do not train
    made = json.loads(found.stdout)
    assert made["title"] == "pixweave train clip"
    assert {"steps", "seed", "data"} < set(made["properties"])
    found = CliRunner().invoke(cli, ["schema", "--train", "clpi"])
    message = "pixweave: trainer 'clpi' is not known; did you mean 'clip'?\n"
    assert (found.exit_code, found.stderr) == (1, message)


LIGHT = """
import sys
from pixweave.cli import cli
try:
    cli({args!r})
except SystemExit as end:
    assert end.code == 0, end.code
heavy = {{"torch", "rich", "numpy", "PIL", "kornia", "open_clip", "av"}} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.mark.parametrize("verb", ["validate", "explain", "cat", "ls", "schema"])
def test_looking_imports_nothing_heavy(verb: str, here: Path) -> None:
    args = {"ls": ["ls"], "schema": ["schema"]}.get(verb, [verb, "hello"])
    env = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, "-c", LIGHT.format(args=args)],
        env=env,
        cwd=here,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_folder_of_frames_is_named_by_its_slash(tmp_path: Path) -> None:
    recipe = load_text(
        "pixweave: 1\nprompts: [x]\nexport: [steps/]\n", "r.yaml", tmp_path, Plugins.discover()
    )
    assert [(part.use, part.settings.file) for part in recipe.exports] == [("frames", "steps/")]  # type: ignore[attr-defined]
