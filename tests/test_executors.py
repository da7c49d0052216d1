"""Executors: workers that die, runs that are killed, and the same rows whoever did the work."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from half_done import kill_midway, rows
from PIL import Image
from test_search_proofs import gallery

from pixweave.errors import PluginError, RunError
from pixweave.plugins import Plugins
from pixweave.search import IndexOptions, IndexProgress, indexing, open_index
from pixweave.search.shards import Journal
from pixweave.testing import plugins_of
from pixweave.workers.tasks import ExecutorContext, Task, WorkerSetup, try_task

LOCAL = {"use": "local", "workers": 2}


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return plugins_of()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Forty pictures, a copy, a film and a broken file."""
    folder = tmp_path / "photos"
    gallery(folder, 40)
    (folder / "copy.png").write_bytes((folder / "000" / "00000.png").read_bytes())
    film = [Image.new("RGB", (20, 20), colour) for colour in ("red", "lime", "blue")]
    film[0].save(folder / "film.gif", save_all=True, append_images=film[1:])
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def bring(
    plugins: Plugins, at: Path, *inputs: Path, perceptor: str = "fake", **how: Any
) -> IndexProgress:
    """Index; the last word."""
    with open_index(at, perceptor, True, "cpu", plugins=plugins) as index:
        *_, tally = index.update(IndexOptions(inputs, **{"frames": 3, **how}))
    return tally


def test_processes_give_the_rows_that_one_gives(
    plugins: Plugins, photos: Path, tmp_path: Path
) -> None:
    alone = bring(plugins, tmp_path / "alone", photos)
    words = [str(photos / "000" / "000[01]?.png")]
    with open_index(tmp_path / "shared", "fake", True, "cpu", plugins=plugins) as index:
        *_, first = index.update(IndexOptions(words, frames=3))
    shared = bring(plugins, tmp_path / "shared", photos, executor=LOCAL, shard=4)
    assert rows(tmp_path / "alone") == rows(tmp_path / "shared")
    assert (alone.encoded, alone.reused, alone.broken) == (41, 1, 1)
    assert (first.encoded, shared.encoded, shared.unchanged) == (20, 21, 20)
    assert shared.by == "fake, cpu; 2 processes of 1 thread"
    assert (shared.reused, shared.broken, shared.committed) == (1, 1, 23)
    assert not list((tmp_path / "shared" / "ledger").glob("*.shard"))


def test_what_moved_is_known_to_the_workers(plugins: Plugins, photos: Path, tmp_path: Path) -> None:
    at = tmp_path / "index"
    bring(plugins, at, photos)
    (photos / "000").rename(photos / "moved")
    tally = bring(plugins, at, photos, executor=LOCAL)
    assert (tally.encoded, tally.reused, tally.unchanged, tally.removed) == (0, 40, 2, 40)
    again = bring(plugins, at, photos, executor=LOCAL)
    assert (again.unchanged, again.by) == (42, "")  # nothing to do: nobody is started


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(
    plugins: Plugins, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "COMMIT_EVERY", 0.0)
    bring(plugins, tmp_path / "alone", photos)
    killed: list[Any] = []
    with open_index(tmp_path / "index", "fake", True, "cpu", plugins=plugins) as index:
        for tally in index.update(IndexOptions([photos], frames=3, executor=LOCAL, shard=2)):
            if not killed and tally.committed:
                killed = multiprocessing.active_children()
                for worker in killed:
                    assert worker.pid
                    os.kill(worker.pid, signal.SIGKILL)
    assert killed
    assert rows(tmp_path / "index") == rows(tmp_path / "alone")


DOOMED = """
import os, signal
from pixweave import Component, hookimpl

class Doomed(Component):
    '''Dies of green pictures.'''
    def build(self, run):
        return self
    size = property(lambda self: 8)
    def encode_image(self, crops):
        if crops[:, 1].mean() > 0.9 > crops[:, 0].mean():
            os.kill(os.getpid(), signal.SIGKILL)
        import torch
        return torch.nn.functional.normalize(crops.mean((2, 3)) + 1e-4, dim=1)
    def encode_text(self, texts):
        import torch
        return torch.ones(len(texts), 3) / 3 ** 0.5

@hookimpl
def register_perceptors():
    return {"doomed": Doomed}
"""


@pytest.mark.slow
def test_a_shard_that_kills_is_reported_and_the_others_are_kept(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "doomed.py").write_text(DOOMED)
    (tmp_path / "photos").mkdir()
    for number, colour in enumerate(("red", "lime", "blue", "white")):
        Image.new("RGB", (8, 8), colour).save(tmp_path / "photos" / f"{number}.png")
    plugins = Plugins.discover([tmp_path / "plugins"])
    at = tmp_path / "index"
    executor = {"use": "local", "workers": 1, "retries": 1}
    with pytest.raises(RunError) as caught:
        bring(plugins, at, tmp_path / "photos", perceptor="doomed", executor=executor, shard=1)
    assert str(caught.value) == (
        "a shard failed: its worker died 2 times (killed by SIGKILL, possibly out of memory). "
        "All others are kept; run the same command to try again"
    )
    assert [os.path.basename(row[0]) for row in rows(at)] == ["0.png", "2.png", "3.png"]


@pytest.mark.slow
def test_a_killed_run_is_taken_over(plugins: Plugins, tmp_path: Path) -> None:
    photos, at = tmp_path / "photos", tmp_path / "index"
    gallery(photos, 96)
    done = kill_midway(photos, at, shard=4, least=3)
    assert 3 <= len(done) < 24
    assert rows(at) == []
    changed = photos / "000" / "00001.png"  # of the first shard
    changed.write_bytes((photos / "000" / "00002.png").read_bytes())
    (at / "ledger" / f"{'0' * 32}.shard").write_bytes(b"spoilt")
    result = bring(plugins, at, photos, perceptor="tiny", batch=4, frames=1)
    assert result.merged == result.unchanged
    assert 4 * len(done) - result.merged in (0, 1)  # not the one that was changed
    assert result.encoded + result.reused == 96 - result.merged
    assert list((at / "ledger").iterdir()) == [at / "ledger" / "token"]
    whole = bring(plugins, tmp_path / "again", photos, perceptor="tiny", batch=4, frames=1)
    assert whole.merged == 0
    ours, theirs = ({row[:4] for row in rows(a)} for a in (at, tmp_path / "again"))
    assert ours == theirs


@pytest.mark.slow
def test_ctrl_c_keeps_the_finished_shards(tmp_path: Path) -> None:
    gallery(tmp_path / "photos", 400)
    at = tmp_path / "index"
    code = (
        "import sys; from pixweave.search import indexing; indexing.COMMIT_EVERY = 0.0\n"
        "from pixweave.cli import cli; cli(sys.argv[1:])"
    )
    words = [
        "index",
        str(tmp_path / "photos"),
        "--index",
        str(at),
        "--json",
        "--shard",
        "4",
        "--executor",
        "{use: local, workers: 2}",
    ]
    running = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert running.stdout
    first = json.loads(running.stdout.readline())
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does: the workers get it too
    out, err = running.communicate()
    last = json.loads(out.splitlines()[-1])
    assert running.returncode == 130
    assert last["stopped"]
    assert first["committed"] <= last["committed"] == len(rows(at)) < 400
    assert "Traceback" not in err


def test_units_say_what_is_wrong(plugins: Plugins) -> None:
    assert try_task(Task("a", "pixweave.testing.check_executors:run_test_task", {"number": 3})) == (
        9,
        "",
    )
    _, fault = try_task(
        Task("a", "pixweave.testing.check_executors:run_test_task", {"failure": "raise"})
    )
    assert fault.startswith("ValueError: not a number (check_executors.py:")
    with pytest.raises(PluginError) as none:
        plugins.component("executor", {"use": "locale"})
    assert str(none.value) == "executor 'locale' is not known; did you mean 'local'?"
    with pytest.raises(RunError) as wrong:
        plugins.component("executor", {"use": "local", "workers": -1})
    assert str(wrong.value) == (
        "'workers' of executor 'local' must be greater than or equal to 0, not -1; see `pixweave "
        "show local`"
    )


def test_plugins_are_found_again_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "doomed.py").write_text(DOOMED)
    here = Plugins.discover([tmp_path], without=["pixweave_fft"])
    there = Plugins.of(json.loads(json.dumps(here.source())))
    assert list(there.loaded) == list(here.loaded)
    mine = plugins_of()
    assert list(Plugins.of(mine.source()).loaded) == list(mine.loaded)
    from pixweave.testing import FakePlugin

    here.add(FakePlugin(), "mine")
    with pytest.raises(PluginError) as caught:
        here.source()
    assert str(caught.value) == (
        "plugin 'mine' is an object of this process, which workers cannot import; "
        "put it into a file, and pass its folder with --plugins-dir"
    )


def test_another_folder_of_the_same_name_is_told_apart(tmp_path: Path) -> None:
    here, there = Journal(tmp_path / "a"), Journal(tmp_path / "b")
    token = here.open()
    assert here.open() == token
    assert here.is_the_one(token)
    assert not there.is_the_one(token)
    there.open()
    assert not there.is_the_one(token)


def test_a_script_without_a_guard_is_told(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "from pixweave.workers.tasks import ExecutorContext, Task\n"
        "from pixweave_multiprocessing import Local\n"
        "unit = Task('a', 'pixweave.testing.check_executors:run_test_task', {'number': 3})\n"
        "list(Local(workers=1, retries=0).build(ExecutorContext()).run([unit], lambda: False))\n"
    )
    done = subprocess.run(
        [sys.executable, str(tmp_path / "script.py")], capture_output=True, text=True
    )
    assert done.stderr.splitlines()[-1] == (
        "pixweave.errors.RunError: no worker process can be started (exit code 1); its output is "
        "above. A script that uses workers must run its code below `if __name__ == '__main__':`"
    )


@pytest.fixture
def other_place(tmp_path: Path) -> Iterator[None]:
    before, folder = dict(os.environ), os.getcwd()
    yield
    os.environ.clear()
    os.environ.update(before)
    os.chdir(folder)


def test_a_worker_is_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other_place: None
) -> None:
    from pixweave.workers.tasks import reading_threads

    monkeypatch.setenv("PIXWEAVE_OFFLINE", "1")
    monkeypatch.setenv("SECRET", "1")
    monkeypatch.chdir(tmp_path)
    place = WorkerSetup.current()
    assert place.environment["PIXWEAVE_OFFLINE"] == "1"
    assert "SECRET" not in place.environment
    assert place.folder == str(tmp_path) == ExecutorContext().setup.folder
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delenv("PIXWEAVE_OFFLINE")
    place.apply(3)
    assert os.environ["PIXWEAVE_OFFLINE"] == "1"
    assert (os.environ["OMP_NUM_THREADS"], reading_threads()) == ("3", 3)
