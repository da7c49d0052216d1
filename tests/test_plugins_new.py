"""`plugins new` writes packages whose tests pass at once; `plugins check` runs the kit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pixweave.cli import cli
from pixweave.plugins import HOOKS

ROOT = Path(__file__).parent.parent


def call(*words: str) -> Any:
    return CliRunner().invoke(cli, ["plugins", *words])


def python(*words: str, cwd: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-m", *words]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, check=False, env=environment
    )


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_new_package_has_a_module_a_test_a_recipe_and_an_entry_point(here: Path) -> None:
    done = call("new", "loss", "punch")
    assert done.exit_code == 0, done.output
    assert done.stdout.split() == [
        "pixweave-punch/pyproject.toml",
        "pixweave-punch/README.md",
        "pixweave-punch/pixweave_punch.py",
        "pixweave-punch/tests/test_punch.py",
        "pixweave-punch/recipe.yaml",
    ]
    assert done.stderr == "next: cd pixweave-punch && pip install -e '.[test]' && pytest\n"
    source = (here / "pixweave-punch" / "pixweave_punch.py").read_text()
    assert "class Punch(Component):" in source
    assert "\napi = 1\n" in source
    assert 'return {"punch": Punch}' in source
    assert "xample" not in source
    again = call("new", "loss", "punch")
    assert (again.exit_code, again.stderr) == (
        1,
        "pixweave: the folder 'pixweave-punch' is not empty; choose a new one with --folder\n",
    )
    checked = call("check", "pixweave-punch/pixweave_punch.py")
    assert (checked.exit_code, checked.stdout) == (0, "ok    loss punch\n")


@pytest.mark.slow
def test_its_own_test_passes_at_once(here: Path) -> None:
    call("new", "filter", "corners")
    done = python("pytest", "-q", cwd=here / "pixweave-corners")
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "My-Loss",
            "'My-Loss' is not a valid name; use lower case letters, digits and _, such as "
            "'my_loss', and no word of Python",
        ),
        (
            "class",
            "'class' is not a valid name; use lower case letters, digits and _, and no word of "
            "Python",
        ),
        ("pixel", "a module 'pixweave_pixel' is installed already; choose another name"),
    ],
)
def test_a_bad_name_is_refused(here: Path, name: str, message: str) -> None:
    done = call("new", "loss", name)
    assert (done.exit_code, done.stderr) == (1, f"pixweave: {message}\n")
    assert list(here.iterdir()) == []


def test_a_name_that_another_plugin_has_is_told(here: Path) -> None:
    done = call("new", "loss", "smoothness", "--folder", "mine")
    assert done.exit_code == 0
    assert done.stderr.splitlines()[0] == (
        "warning: the plugin 'pixweave_image_losses' has a loss 'smoothness' too; recipes must "
        "call yours 'pixweave_smoothness/smoothness'"
    )


def test_an_unknown_kind_lists_them(here: Path) -> None:
    done = call("new", "los", "punch")
    assert done.exit_code == 2
    assert "'los' is not one of 'generator', 'perceptor', 'loss'" in done.stderr


@pytest.mark.slow
def test_every_kind_is_strictly_typed_clean_and_green(here: Path) -> None:
    for kind in HOOKS:
        assert call("new", kind, f"my_{kind}").exit_code == 0
    folders = [here / f"pixweave-my-{kind}" for kind in HOOKS]
    path = os.pathsep.join(map(str, folders))
    tests = [str(folder / "tests") for folder in folders]
    done = python("pytest", "-q", "-W", "error", *tests, cwd=here, path=path)
    assert done.returncode == 0, done.stdout
    count = sum((folder / "recipe.yaml").exists() for folder in folders) + len(folders)
    assert f"{count} passed" in done.stdout
    modules = [
        str(folder / f"pixweave_my_{kind}.py") for folder, kind in zip(folders, HOOKS, strict=True)
    ]
    typed = python("mypy", "--strict", *modules, *tests, cwd=here, path=path)
    assert typed.returncode == 0, typed.stdout
    for tool in (["check"], ["format", "--check"]):
        clean = python("ruff", *tool, ".", cwd=here)
        assert clean.returncode == 0, clean.stdout


@pytest.mark.slow
def test_an_installed_package_is_found(here: Path) -> None:
    call("new", "loss", "kick")
    target = here / "site"
    done = python(
        *("pip", "install", "--quiet", "--no-deps", "--target", str(target), "./pixweave-kick"),
        cwd=here,
    )
    assert done.returncode == 0, done.stderr
    listed = python("pixweave", "plugins", "--json", cwd=here, path=str(target))
    plugins = {plugin["name"]: plugin for plugin in json.loads(listed.stdout)}
    assert plugins["pixweave_kick"] == {
        "name": "pixweave_kick",
        "origin": "pixweave-kick",
        "version": "0.1.0",
        "api": 1,
        "broken": None,
        "heavy": False,
        "offers": {"loss": ["kick"]},
    }
    checked = python("pixweave", "plugins", "check", "pixweave_kick", cwd=here, path=str(target))
    assert checked.stdout == "ok    loss kick\n"


BAD = """
from typing import ClassVar
from pixweave import Component, Field, hookimpl

class Still(Component):
    '''Does not descend.'''
    def build(self, run):
        return lambda view: (view.image * 0).sum()

class Silent(Component):
    '''Has a setting without a description.'''
    amount: float = 1.0
    def build(self, run):
        return lambda view: view.image.mean()

class Crash(Component):
    '''Crashes.'''
    def build(self, run):
        raise ValueError("no model")

class Needs(Component):
    '''Needs a setting.'''
    example: ClassVar = {"amount": 0.5}
    amount: float = Field(description="how much")
    def build(self, run):
        return lambda view: (view.image.mean() - self.amount) ** 2

@hookimpl
def register_losses():
    return {"still": Still, "silent": Silent, "crash": Crash, "needs": Needs}
"""


def test_check_names_what_fails_and_why(here: Path) -> None:
    (here / "bad.py").write_text(BAD)
    done = call("check", "bad.py")
    assert done.exit_code == 1
    assert done.stdout.splitlines() == [
        "FAIL  loss still: loss 'still' does not decrease: 0 -> 0",
        "FAIL  loss silent: setting 'amount' of loss 'silent' has no description",
        "FAIL  loss crash: loss 'crash' (tiny.yaml:1, plugin bad) raised ValueError: no model "
        "(bad.py:19)",
        "ok    loss needs",
    ]
    assert done.stderr == "3 of 4 failed\n"
    only = call("check", "bad.py", "--name", "needs", "--json")
    assert json.loads(only.stdout) == {
        "event": "checked",
        "kind": "loss",
        "name": "needs",
        "ok": True,
        "fault": "",
    }
    debug = CliRunner().invoke(
        cli, ["plugins", "--debug", "check", str(here / "bad.py"), "--name", "crash"]
    )
    assert "Traceback (most recent call last):" in debug.stderr
    nothing = call("check", "bad.py", "--kind", "filter")
    assert nothing.stderr == "pixweave: 'bad.py' has no component of that kind and name\n"


def test_check_takes_installed_plugins_by_name() -> None:
    done = call("check", "pixweave_resample")
    assert (done.exit_code, done.stdout) == (0, "ok    filter crisp\nok    filter lanczos\n")
    unknown = call("check", "pixweave_resampel")
    assert unknown.stderr == (
        "pixweave: there is no plugin, file or folder 'pixweave_resampel'; did you mean "
        "'pixweave_resample'?\n"
    )
