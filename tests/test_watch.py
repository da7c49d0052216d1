"""`run --watch`: what is saved is read again, errors wait, and models are kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from pixweave import PixweaveError, Plugins, load
from pixweave.cli.watch import Watch, input_files
from pixweave.testing import FakePlugin

RECIPE = """pixweave: 1
size: [24, 24]
steps: 2
generator: {use: pixel, grid: [12, 12]}
perceptors: [fake]
prompts: [red]
losses: [mine]
start_from: start.png
export: [a.png]
"""
PLUGIN = '''
from helper import TEXT
from pixweave import Component, hookimpl

class Mine(Component):
    """Mine."""
    text = property(lambda self: TEXT)
    def build(self, run):
        return lambda view: view.image.mean()

@hookimpl
def register_losses():
    return {"mine": Mine}
'''


class Desk:
    """A folder with a recipe and a plugin; edits it after each run, as told."""

    def __init__(self, folder: Path) -> None:
        from PIL import Image

        self.folder, self.plugins = folder, folder / "plugins"
        self.plugins.mkdir()
        (folder / "r.yaml").write_text(RECIPE)
        (self.plugins / "mine.py").write_text(PLUGIN)
        (self.plugins / "helper.py").write_text("TEXT = 'one'\n")
        Image.new("RGB", (24, 24), "navy").save(folder / "start.png")
        self.seen: list[str] = []
        self.models: list[Any] = []

    def loop(self, *edits: Any) -> list[str]:
        """What the runs saw, or their errors: one, and one after each edit."""
        pending = list(edits)

        def after() -> None:
            if pending:
                pending.pop(0)()
            else:
                self.stop = True

        def run(recipe: Any, prebuilt: Any) -> None:
            self.seen.append(f"{recipe.losses[-1].settings.text} {recipe.steps}")
            self.models.append(prebuilt)
            after()

        def report(error: PixweaveError) -> None:
            self.seen.append(str(error).splitlines()[0])
            after()

        def discover() -> Plugins:
            plugins = Plugins.discover([self.plugins])
            plugins.add(FakePlugin, "pixweave_fake")
            return plugins

        self.stop = False
        Watch(
            sources=(str(self.folder / "r.yaml"),),
            folders=(str(self.plugins),),
            discover=discover,
            load=lambda plugins: load([self.folder / "r.yaml"], plugins),
            run=run,
            report=report,
            stopped=lambda: self.stop,
        ).loop()
        return self.seen

    def write(self, name: str, text: str) -> Any:
        return lambda: (self.folder / name).write_text(text)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setattr("pixweave.cli.watch.EVERY", 0.01)
    monkeypatch.setattr("pixweave.cli.watch.SETTLE", 0.01)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "helper", raising=False)
    return Desk(tmp_path)


def test_recipe_plugin_and_helper_are_read_again(desk: Desk) -> None:
    assert desk.loop(
        desk.write("r.yaml", RECIPE.replace("steps: 2", "steps: 3")),
        desk.write("plugins/helper.py", "TEXT = 'two'\n"),
        desk.write("plugins/mine.py", PLUGIN.replace("lambda self: TEXT", "lambda self: 'own'")),
    ) == ["one 2", "one 3", "two 3", "own 3"]
    assert all(models is desk.models[0] for models in desk.models)


def test_errors_wait_for_the_next_change(desk: Desk) -> None:
    place = desk.folder / "r.yaml"
    assert desk.loop(
        desk.write("r.yaml", RECIPE.replace("steps: 2", "steps: two")),
        desk.write("r.yaml", RECIPE),
        desk.write("plugins/mine.py", "import pixweave\n1 / 0"),
        desk.write("plugins/mine.py", PLUGIN),
    ) == [
        "one 2",
        f"{place}:3:8: 'steps' must be a whole number, not 'two'",
        "one 2",
        f"{place}:7:10: loss 'mine' is not known; the plugin 'mine' failed to load: "
        "ZeroDivisionError: division by zero (mine.py:2)",
        "one 2",
    ]


def test_pictures_and_extended_recipes_are_watched(desk: Desk) -> None:
    from PIL import Image

    (desk.folder / "base.yaml").write_text("pixweave: 1\nsteps: 5\n")
    child = RECIPE.replace("steps: 2\n", "").replace(
        "pixweave: 1\n", "pixweave: 1\nextends: base.yaml\n"
    )
    desk.write("r.yaml", child)()
    picture = desk.folder / "start.png"
    assert desk.loop(
        lambda: Image.new("RGB", (24, 24), "red").save(picture),
        desk.write("base.yaml", "pixweave: 1\nsteps: 6\n"),
    ) == ["one 5", "one 5", "one 6"]
    assert list(input_files({"a": [str(picture), "start.png", 3]})) == [picture]


def test_a_file_that_is_replaced_by_renaming_counts(desk: Desk) -> None:
    def replace() -> None:
        other = desk.folder / "r.yaml~"
        other.write_text(RECIPE.replace("steps: 2", "steps: 9"))
        os.replace(other, desk.folder / "r.yaml")

    assert desk.loop(replace) == ["one 2", "one 9"]


@pytest.mark.slow
def test_the_command_restarts_a_run_in_progress(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    text = (
        "pixweave: 1\nsize: [24, 24]\nsteps: 100000\nlosses: [smoothness]\nprompts: []\n"
        "generator: {use: pixel, grid: [12, 12]}\naugmentations: []\nexport: [a.png]\n"
    )
    path.write_text(text)
    command = [sys.executable, "-m", "pixweave", "run", "--watch", str(path), "--json", "-o", "out"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        events = []
        assert process.stdout is not None
        for line in process.stdout:
            event = json.loads(line)
            events.append(event)
            if event["event"] == "step" and event["steps"] == 100000 and len(events) < 90:
                path.write_text(text.replace("100000", "3"))
            if event["event"] == "watching":
                process.send_signal(signal.SIGINT)
                break
        deadline = time.monotonic() + 20
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.1)
    results = [event for event in events if event["event"] == "result"]
    assert [result["status"] for result in results] == ["interrupted", "done"]
    assert (tmp_path / "out" / "a.png").exists()
    assert process.returncode == 130
