"""The verb `run`, as a user meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

FAST = """\
pixweave: 1
title: fast
size: [24, 24]
steps: 3
generator: {use: pixel, grid: [12, 12]}
perceptors: []
losses: [smoothness]
augmentations: []
export: [fast.png]
"""


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "fast.yaml").write_text(FAST)
    return tmp_path


def pixweave(work: Path, *words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pixweave", *words]
    return subprocess.run(command, cwd=work, capture_output=True, text=True, input=stdin)


def test_the_path_is_on_stdout_and_nothing_else(work: Path) -> None:
    done = pixweave(work, "run", "fast.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    path = Path(done.stdout.removesuffix("\n"))
    assert path.name == "fast.png"
    assert path.parent.name == "0001-fast"
    with Image.open(work / path) as picture:
        assert picture.size == (24, 24)
    assert (work / "runs" / "last").resolve() == (work / path.parent).resolve()
    again = pixweave(work, "run", "fast.yaml")
    assert Path(again.stdout.strip()).parent.name == "0002-fast"


def test_out_names_the_folder_and_never_mixes_runs(work: Path) -> None:
    assert (
        pixweave(work, "run", "fast.yaml", "-o", "here").stdout == f"{Path('here') / 'fast.png'}\n"
    )
    done = pixweave(work, "run", "fast.yaml", "-o", "here")
    assert (done.returncode, done.stderr) == (
        1,
        "pixweave: the folder 'here' is not empty; choose a new one with --out\n",
    )


def test_a_recipe_can_come_from_standard_input(work: Path) -> None:
    done = pixweave(work, "run", "-", "-o", "here", stdin=FAST)
    assert done.returncode == 0, done.stderr
    assert (work / "here" / "fast.png").exists()


def test_recipes_merge_left_to_right_and_sets_come_last(work: Path) -> None:
    (work / "more.yaml").write_text("pixweave: 1\nsteps: 5\nseed: 4\n")
    done = pixweave(work, "run", "fast.yaml", "more.yaml", "--json", "-n", "2", "-o", "here")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[0]["event"] == "planned"
    assert (events[0]["steps"], events[0]["seed"]) == (2, 4)


def test_json_prints_events_and_last_the_result(work: Path) -> None:
    done = pixweave(work, "run", "fast.yaml", "--json", "-o", "here")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.stderr == ""
    assert events[-1]["event"] == "result"
    assert events[-1]["ok"] is True
    assert events[-1]["outputs"] == [str(Path("here") / "fast.png")]
    steps = [e for e in events if e["event"] == "step"]
    assert steps[-1]["step"] == 2
    assert list(steps[-1]["losses"]) == ["smoothness"]


def test_a_wrong_recipe_exits_3_with_every_mistake(work: Path) -> None:
    (work / "bad.yaml").write_text(
        FAST.replace("smoothness", "smoothnes").replace("steps: 3", "steps: 0")
    )
    done = pixweave(work, "run", "bad.yaml")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        "bad.yaml:4:8: 'steps' must be between 1 and 100000, not 0\n"
        "bad.yaml:7:10: loss 'smoothnes' is not known; did you mean 'smoothness'?\n"
    )
    assert not (work / "runs").exists()


def test_a_wrong_recipe_is_told_as_json_too(work: Path) -> None:
    (work / "bad.yaml").write_text(FAST.replace("smoothness", "smoothnes"))
    done = pixweave(work, "run", "bad.yaml", "--json")
    assert done.returncode == 3
    body = json.loads(done.stdout)
    assert body["ok"] is False
    assert body["error"]["problems"] == [
        {
            "file": "bad.yaml",
            "line": 7,
            "column": 10,
            "message": "loss 'smoothnes' is not known",
            "hint": "did you mean 'smoothness'?",
        }
    ]


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)],
)
def test_the_first_signal_finishes_the_step_and_saves(work: Path, number: int, code: int) -> None:
    command = [
        sys.executable,
        "-m",
        "pixweave",
        "run",
        "fast.yaml",
        "--json",
        "-n",
        "100000",
        "-o",
        "here",
    ]
    process = subprocess.Popen(
        command, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while '"step"' not in process.stdout.readline():
        pass
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    result = json.loads(out.splitlines()[-1])
    assert result["status"] == "interrupted"
    assert 0 < result["steps_done"] < 100000
    assert (work / "here" / "fast.png").exists()


@pytest.mark.slow
def test_the_second_interrupt_stops_at_once(work: Path) -> None:
    (work / "slow.py").write_text(
        "import time\nfrom pixweave import Component, hookimpl\n"
        "class Slow(Component):\n    '''Slow.'''\n    def build(self, run):\n"
        "        def loss(view):\n            time.sleep(0.05 if view.step < 1 else 60)\n"
        "            return view.image.mean()\n        return loss\n"
        "@hookimpl\ndef register_losses(): return {'slow': Slow}\n"
    )
    command = [
        sys.executable,
        "-m",
        "pixweave",
        "run",
        "fast.yaml",
        "--json",
        "--plugins-dir",
        ".",
        "-s",
        "losses=[slow]",
        "-o",
        "here",
    ]
    process = subprocess.Popen(
        command, cwd=work, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while '"step"' not in process.stdout.readline():
        pass
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    assert (work / "here" / "fast.png").exists()


def test_quiet_says_nothing_but_the_path_and_a_prompt_replaces_the_recipes(work: Path) -> None:
    done = pixweave(
        work,
        "run",
        "fast.yaml",
        "-q",
        "-o",
        "here",
        "-p",
        "a red heart",
        "-s",
        "perceptors=[tiny]",
        "-s",
        "crops.count=2",
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "text: a red heart" in (work / "here" / "resolved.yaml").read_text()


def test_plugins_from_a_folder_work_in_every_verb(work: Path) -> None:
    example = str(Path(__file__).parent.parent / "plugins" / "example")
    sets = [
        "-s",
        "losses=[{use: vivid, amount: 0.2}]",
        "-s",
        "generator={use: stripes, count: 4}",
        "-s",
        "augmentations=[darken]",
    ]
    done = pixweave(work, "run", "fast.yaml", "--plugins-dir", example, *sets, "-o", "here")
    assert done.returncode == 0, done.stderr
    with Image.open(work / "here" / "fast.png") as picture:
        colours = picture.getcolors()
    assert colours is not None
    assert len(colours) == 4
    shown = pixweave(work, "show", "vivid", "--plugins-dir", example)
    assert "amount: number 0..1 = 0.3" in shown.stdout
    assert '"vivid"' in pixweave(work, "schema", "--plugins-dir", example).stdout
    wrong = pixweave(
        work,
        "validate",
        "fast.yaml",
        "--plugins-dir",
        example,
        "-s",
        "losses=[{use: vivid, amuont: 0.2}]",
    )
    assert wrong.returncode == 3
    assert "'amuont'" in wrong.stderr
    assert "did you mean 'amount'?" in wrong.stderr


def test_without_a_plugin_its_parts_are_unknown(work: Path) -> None:
    done = pixweave(work, "run", "fast.yaml", "--without", "pixweave_image_losses")
    assert done.returncode == 3
    assert done.stderr.startswith("fast.yaml:7:10: loss 'smoothness' is not known; ")


def test_a_folder_that_cannot_be_made_is_told(work: Path) -> None:
    (work / "file").write_text("")
    done = pixweave(work, "run", "fast.yaml", "-o", "file/here")
    assert (done.returncode, done.stderr) == (
        1,
        "pixweave: cannot create the run folder: [Errno 20] Not a directory: 'file/here'; "
        "choose one with --out\n",
    )
