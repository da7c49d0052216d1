"""The run folder."""

from __future__ import annotations

import datetime
import json
import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pixweave import load
from pixweave.pipeline.run_folder import RunFolder, new_folder
from pixweave.testing import plugins_of, tiny_recipe

TODAY = datetime.date.today().isoformat


def read(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "run.json").read_text()))


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("A Fox, in Snow!", "a-fox-in-snow"),
        ("雪", "run"),
        ("", "run"),
        ("../../etc", "etc"),
        ("x" * 300, "x" * 40),
    ],
)
def test_a_run_has_a_numbered_folder_of_its_day(tmp_path: Path, name: str, slug: str) -> None:
    first, second = new_folder(tmp_path, name), new_folder(tmp_path, name)
    assert first.relative_to(tmp_path).as_posix() == f"{TODAY()}/0001-{slug}"
    assert second.name == f"0002-{slug}"
    assert (tmp_path / "last").resolve() == second.resolve()


def test_numbers_go_on_where_folders_were_deleted_and_past_9999(tmp_path: Path) -> None:
    (tmp_path / TODAY() / "0007-old").mkdir(parents=True)
    assert new_folder(tmp_path, "new").name == "0008-new"
    (tmp_path / TODAY() / "9999-old").mkdir()
    assert new_folder(tmp_path, "new").name == "10000-new"
    assert new_folder(tmp_path, "new").name == "10001-new"


def _take(place: tuple[Path, str]) -> list[str]:
    return [new_folder(*place).name[:4] for _ in range(20)]


def test_runs_that_start_together_do_not_share_a_number(tmp_path: Path) -> None:
    places = [(tmp_path, "same"), (tmp_path, "same"), (tmp_path, "other")]
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        taken = [number for numbers in pool.map(_take, places) for number in numbers]
    with ThreadPoolExecutor(4) as threads:
        taken += [number for numbers in threads.map(_take, places * 2) for number in numbers]
    assert sorted(taken) == [f"{number:04}" for number in range(1, 181)]
    assert not list(tmp_path.rglob(".*"))
    assert (tmp_path / "last").is_dir()


def test_a_number_that_a_killed_run_was_taking_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / TODAY() / ".0001").mkdir(parents=True)
    assert new_folder(tmp_path, "a").name == "0002-a"


def test_somebodys_own_last_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "last").write_text("mine")
    new_folder(tmp_path, "a")
    assert (tmp_path / "last").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 2


def test_there_is_no_last_where_links_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_links(*_: Any, **__: Any) -> None:
        raise OSError("no symlinks here")

    monkeypatch.setattr(Path, "symlink_to", no_links)
    assert new_folder(tmp_path, "a").is_dir()
    assert [p.name for p in tmp_path.iterdir()] == [TODAY()]


def test_the_folder_holds_the_recipe_and_what_it_became(tmp_path: Path) -> None:
    recipe = tiny_recipe()
    record = RunFolder(tmp_path, recipe)
    assert (tmp_path / "recipe.yaml").read_text() == recipe.sources[-1][1]
    assert (tmp_path / "resolved.yaml").read_text() == recipe.resolved_yaml()
    assert read(tmp_path)["status"] == "running"
    record.finish("done", {"steps_done": 3, "seconds": float("nan")})
    run = read(tmp_path)
    assert (run["status"], run["seed"], run["steps_done"]) == ("done", recipe.seed, 3)
    assert run["seconds"] is None
    assert {"python", "torch"} <= set(run["versions"])


def test_each_source_of_the_recipe_is_kept_as_written(tmp_path: Path) -> None:
    base, top = tmp_path / f"{'b' * 240}.yaml", tmp_path / "top.yaml"
    base.write_text("pixweave: 1\nsteps: 3  # few\n")
    top.write_text("pixweave: 1\nprompts: [a red square]\nperceptors: [fake]\n")
    folder = tmp_path / "run"
    folder.mkdir()
    RunFolder(folder, load([base, top], plugins_of())).finish("done", {})
    assert (folder / "recipe.yaml").read_text() == top.read_text()
    assert (folder / f"recipe-1-{'b' * 80}.yaml").read_text() == base.read_text()


def test_the_command_is_kept_without_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    words = ["/home/ada/bin/pixweave", "run", "/home/ada/fox.yaml", "--out=/home/ada", "/home/adam"]
    monkeypatch.setattr("sys.argv", words)
    RunFolder(tmp_path, tiny_recipe()).finish("done", {})
    assert read(tmp_path)["argv"] == ["pixweave", "run", "~/fox.yaml", "--out=~", "/home/adam"]


def test_every_line_of_the_events_is_json(tmp_path: Path) -> None:
    record = RunFolder(tmp_path, tiny_recipe())
    record.record_event({"event": "planned", "x": float("inf"), "deep": [{"y": float("nan")}]})
    record.record_event({"event": "step", "step": 0})  # its losses were not read
    record.record_event({"event": "step", "step": 1, "losses": {"a": 0.5}})
    lines = (tmp_path / "events.jsonl").read_text().splitlines()  # there before it is closed
    assert [json.loads(line) for line in lines] == [
        {"event": "planned", "x": None, "deep": [{"y": None}]},
        {"event": "step", "step": 1, "losses": {"a": 0.5}},
    ]
    record.finish("done", {})


def test_a_full_disk_stops_the_events_and_not_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = RunFolder(tmp_path, tiny_recipe())
    assert record._events is not None
    record._events.close()
    record._events = Path("/dev/full").open("w")  # noqa: SIM115 - the record closes it
    for step in range(3):
        record.record_event({"event": "step", "step": step, "losses": {}})

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    record.finish("done", {})
    assert capsys.readouterr().err == (
        "warning: events are no longer recorded: [Errno 28] No space left on device\n"
        "warning: run.json could not be written: [Errno 28] No space left on device\n"
    )
    assert read(tmp_path)["status"] == "running"
