"""What plugins bring besides parts: recipes, presets, models, commands, and a hook after a run."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pixweave import MissingError, PartError, Plugins, load
from pixweave.cli import cli
from pixweave.models import Store
from pixweave.pipeline.runner import perform
from pixweave.plugins.offered import OFFERED_MODELS
from pixweave.testing import FakePlugin, tiny_recipe

SOURCE = '''
import json
from pathlib import Path
import click
from pixweave import hookimpl

HERE = Path(__file__).parent

@click.command()
@click.argument("name")
@click.option("--fail", is_flag=True)
def greet(name, fail):
    """Say hello to NAME."""
    if fail:
        raise ValueError("no voice")
    click.echo(f"hello {name}")

@hookimpl
def register_recipes():
    return {"dusk": HERE / "dusk.yaml", "hello": HERE / "dusk.yaml"}

@hookimpl
def register_presets():
    return {"soft": HERE / "soft.yaml"}

@hookimpl
def register_models():
    file = {"name": "w.safetensors", "mirrors": ["https://example.org/w"], "sha256": "0" * 64}
    return {"tiny-thing": {"about": "A thing.", "files": {"weights": file}}}

@hookimpl
def register_commands():
    return {"greet": greet, "run": greet, "later": "no_such_module:command"}

@hookimpl
def after_run(outcome):
    told = {
        "status": outcome.status,
        "folder": str(outcome.folder),
        "outputs": [path.name for path in outcome.outputs],
        "error": outcome.error,
        "plugins": sorted(outcome.plugins),
        "name": outcome.recipe.name,
    }
    (outcome.folder / "told.json").write_text(json.dumps(told))
'''
DUSK = """# Dusk over a picture of the plugin's own.
pixweave: 1
presets: [soft]
size: [24, 24]
generator: {use: pixel, grid: [12, 12]}
start_from: sea.png
losses: [smoothness]
augmentations: []
export: [dusk.png]
"""
SOFT = "# Soft.\npixweave: 1\nsteps: 3\n"


def write_files(folder: Path, module: str) -> None:
    from PIL import Image

    (folder / module).write_text(SOURCE)
    (folder / "dusk.yaml").write_text(DUSK)
    (folder / "soft.yaml").write_text(SOFT)
    Image.new("RGB", (24, 24), "navy").save(folder / "sea.png")


Call = Callable[..., Any]


@pytest.fixture(params=["file", "package"])
def call(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Call]:
    """Call the command line where a plugin `mine` is a file, or an installed package."""
    folder = tmp_path / "plugin"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    if request.param == "file":
        write_files(folder, "mine.py")
        monkeypatch.setenv("PIXWEAVE_PLUGINS_DIR", str(folder))
    else:
        package = folder / "mine_package"
        package.mkdir()
        write_files(package, "__init__.py")
        info = folder / "mine_package-3.1.dist-info"
        info.mkdir()
        head = "Metadata-Version: 2.1\nName: mine-package\nVersion: 3.1\n"
        (info / "METADATA").write_text(head)
        (info / "entry_points.txt").write_text("[pixweave]\nmine = mine_package\n")
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.delitem(sys.modules, "mine_package", raising=False)

    def run(*words: str) -> Any:
        return CliRunner().invoke(cli, words)

    yield run
    for name in [name for name in OFFERED_MODELS if name.startswith("mine/")]:
        del OFFERED_MODELS[name]


def test_a_plugin_brings_recipes_presets_models_commands_and_is_told(
    call: Call, tmp_path: Path
) -> None:
    listed = call("ls").stdout.splitlines()
    about = "Dusk over a picture of the plugin's own.  (plugin mine)"
    assert [line.split(maxsplit=1) for line in listed if "plugin mine" in line] == [
        ["dusk", about],
        ["presets/soft", "Soft.  (plugin mine)"],
    ]
    assert call("cat", "dusk").stdout == DUSK
    assert call("cat", "mine/dusk").stdout == DUSK
    assert call("validate", "dusk", "mine/hello", "hello").stdout == (
        "ok dusk\nok mine/hello\nok hello\n"
    )
    assert "sunset" in call("cat", "hello").stdout  # the built-in one keeps its name
    done = call("run", "dusk", "-o", "out", "-q", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "out" / "told.json").read_text())
    assert told == {
        "status": "done",
        "folder": "out",
        "outputs": ["dusk.png"],
        "error": "",
        "plugins": ["pixweave_export", "pixweave_image_losses", "pixweave_pixel", "pixweave_tiny"],
        "name": "dusk",
    }
    assert json.loads(done.stdout.splitlines()[-1])["event"] == "result"
    models = call("models", "ls", "tiny-thing").stdout
    assert models.split() == ["tiny-thing", "not", "stated", "A", "thing."]
    got = call("models", "get", "mine/tiny-thing", "--offline")
    assert got.exit_code == 4
    assert call("greet", "sea").stdout == "hello sea\n"
    assert call("mine/greet", "sea").stdout == "hello sea\n"
    assert "--plugins-dir" in call("greet", "--help").stdout
    assert call("run", "--help").stdout.startswith("Usage: cli run [OPTIONS] RECIPE...")
    page = call("--help").stdout
    assert page.endswith(
        "\nCommands of the plugin mine:\n  greet     Say hello to NAME.\n"
        "  mine/run  Say hello to NAME.\n"
    )


def test_a_recipe_is_copied_with_its_pictures(call: Call, tmp_path: Path) -> None:
    assert call("cp", "dusk", "copy.yaml").stdout == "copy.yaml\nsea.png\n"
    assert (tmp_path / "copy.yaml").read_text() == DUSK
    assert (tmp_path / "sea.png").exists()


def test_commands_that_fail_or_cannot_be_imported_name_the_plugin(call: Call) -> None:
    failed = call("greet", "sea", "--fail")
    assert failed.exit_code == 1
    assert failed.stderr.startswith(
        "pixweave: command 'greet' (plugin mine) raised ValueError: no voice ("
    )
    later = call("later")
    assert (later.exit_code, later.stderr) == (
        1,
        "pixweave: register_commands() of plugin 'mine': cannot import 'later' from "
        "'no_such_module:command': ModuleNotFoundError: No module named 'no_such_module'\n",
    )


def test_an_unknown_command_is_one_even_with_plugins(call: Call) -> None:
    done = call("grete", "sea")
    assert done.exit_code == 2
    assert "No such command 'grete'." in done.stderr


def test_plugins_dir_finds_a_command(tmp_path: Path) -> None:
    write_files(tmp_path, "mine.py")
    for words in (
        ["greet", "sea", "--plugins-dir", str(tmp_path)],
        ["greet", f"--plugins-dir={tmp_path}", "sea"],
    ):
        done = CliRunner().invoke(cli, words)
        assert done.stdout == "hello sea\n", done.output
    OFFERED_MODELS.pop("mine/tiny-thing", None)


def told_of(folder: Path, body: str, **keys: Any) -> tuple[list[Any], Exception | None]:
    """The events of a run, and its error, with a plugin whose after_run has this body."""
    (folder / "mine.py").write_text(
        f"from pixweave import hookimpl\n@hookimpl\ndef after_run(outcome):\n    {body}\n"
    )
    plugins = Plugins.discover([folder])
    plugins.add(FakePlugin, "pixweave_fake")
    assert plugins.broken == {}
    run = folder / "run"
    run.mkdir(exist_ok=True)
    events: list[Any] = []
    try:
        for event in perform(tiny_recipe(plugins, export=["a.png"], **keys), run):
            events.append(event)
    except Exception as error:
        return events, error
    return events, None


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise OSError('no network')", "raised OSError: no network (mine.py:4)"),
        ("import sys; sys.exit(3)", "called sys.exit(3) (mine.py:4)"),
        (
            "import os; os.chdir('/')",
            "changed the working directory; use absolute paths; run.folder is the run folder",
        ),
    ],
)
def test_a_hook_that_fails_is_a_warning_and_the_result_stays_last(
    tmp_path: Path, body: str, message: str
) -> None:
    events, error = told_of(tmp_path, body)
    assert error is None
    assert [event.kind for event in events[-3:]] == ["saved", "warning", "result"]
    assert events[-2].data["message"] == f"after_run() of plugin 'mine' {message}"
    assert events[-1].data["ok"] is True
    lines = (tmp_path / "run" / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines[-2:]] == ["warning", "result"]
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "done"


def test_a_failed_run_is_told_too_and_the_error_is_kept(tmp_path: Path) -> None:
    body = "(outcome.folder / 'told').write_text(f'{outcome.status}: {outcome.error}')"
    source = (
        "from pixweave import Component, hookimpl\nclass Bad(Component):\n    '''Bad.'''\n"
        "    def build(self, run):\n        return lambda view: 1 / 0\n"
        "@hookimpl\ndef register_losses():\n    return {'bad': Bad}\n"
    )
    (tmp_path / "bad.py").write_text(source)
    _, error = told_of(tmp_path, body, losses=["bad"])
    message = (
        "loss 'bad' (tiny.yaml:1, plugin bad) raised ZeroDivisionError: division by zero (bad.py:5)"
    )
    assert isinstance(error, PartError)
    assert str(error) == message
    assert (tmp_path / "run" / "told").read_text() == f"failed: {message}"
    assert json.loads((tmp_path / "run" / "run.json").read_text())["error"] == message


def test_a_run_that_is_left_early_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from pixweave import hookimpl\n@hookimpl\ndef after_run(outcome):\n"
        "    with (outcome.folder / 'told').open('a') as file:\n"
        "        file.write(outcome.status)\n"
    )
    plugins = Plugins.discover([tmp_path])
    plugins.add(FakePlugin, "pixweave_fake")
    events = perform(tiny_recipe(plugins), tmp_path)
    while next(events).kind != "step":
        pass
    events.close()  # type: ignore[attr-defined]
    assert (tmp_path / "told").read_text() == "failed"


@pytest.mark.parametrize(
    ("hook", "returned", "reason"),
    [
        (
            "recipes",
            "['a']",
            "register_recipes() of plugin 'mine' must return {name: path}, it returned a list",
        ),
        (
            "recipes",
            "{'a': 'a.yaml'}",
            "register_recipes() of plugin 'mine': 'a' names 'a.yaml', "
            "which is not an existing file with an absolute path; write Path(__file__).parent / "
            "'name.yaml'",
        ),
        (
            "presets",
            "{'A b': 'x'}",
            "register_presets() of plugin 'mine': 'A b' is not a valid "
            "name; use lower case letters, digits, '_', '-' and '.'",
        ),
        (
            "models",
            "{'m': 3}",
            "register_models() of plugin 'mine': 'm' must be a mapping with 'about' and 'files'",
        ),
        (
            "commands",
            "{'c': print}",
            "register_commands() of plugin 'mine': 'c' must be a click "
            "command or the import path 'module:command', not <built-in function print>",
        ),
    ],
)
def test_what_is_returned_is_checked(tmp_path: Path, hook: str, returned: str, reason: str) -> None:
    (tmp_path / "mine.py").write_text(
        f"from pixweave import hookimpl\n@hookimpl\ndef register_{hook}():\n    return {returned}\n"
    )
    assert Plugins.discover([tmp_path]).broken == {"mine": reason}


def test_an_entry_of_the_catalogue_that_is_invalid_names_the_plugin(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(OFFERED_MODELS, "mine/bad", {"about": "Bad."})
    with pytest.raises(Exception, match="register_models") as caught:
        _ = Store(tmp_path).models
    assert str(caught.value) == (
        "error in register_models() of plugin 'mine' at bad.files: Field required"
    )


def test_a_recipe_of_two_plugins_must_be_written_in_full(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(f"# {name}.\npixweave: 1\nlosses: [smoothness]\n")
        (tmp_path / f"{name}.py").write_text(
            "from pathlib import Path\nfrom pixweave import hookimpl\n@hookimpl\n"
            f"def register_recipes():\n    return {{'dusk': Path(r'{tmp_path}/{name}.yaml')}}\n"
        )
    plugins = Plugins.discover([tmp_path])
    with pytest.raises(MissingError) as caught:
        load(["dusk"], plugins)
    assert str(caught.value) == "recipe 'dusk' not found; write 'one/dusk' or 'two/dusk'"
    assert load(["two/dusk"], plugins).name == "two"
