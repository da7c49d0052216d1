"""Performing a recipe: events, files, and what happens when something goes wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from PIL import Image

from pixweave import Component, Field, OutOfMemoryError, RunError, hookimpl
from pixweave.errors import PartError
from pixweave.events import Event
from pixweave.pipeline.runner import perform
from pixweave.testing import plugins_of, tiny_recipe


class Faults:
    """A plugin whose parts fail as told."""

    def __init__(self, **faults: Any) -> None:
        class Fault(Component):
            """A loss that fails at a step."""

            def build(self, run: Any) -> Any:
                def loss(view: Any) -> Any:
                    if view.step == faults.get("step"):
                        raise faults["error"]
                    value = view.image.mean()
                    return value * float("nan") if view.step == faults.get("nan") else value

                return loss

        class Leaky(Component):
            """An exporter that fails to write."""

            suffixes: ClassVar[tuple[str, ...]] = (".leak",)
            file: str = Field("a.leak", description="where")

            def build(self, run: Any) -> Any:
                return self

            def write(self, frame: Any) -> None:
                raise OSError(28, "No space left on device")

            def close(self) -> list[Path]:
                raise AssertionError("not reached")

            def abort(self) -> None: ...

        @hookimpl
        def register_losses() -> dict[str, type[Component]]:
            return {"fault": Fault}

        @hookimpl
        def register_exporters() -> dict[str, type[Component]]:
            return {"leaky": Leaky}

        self.register_losses = register_losses
        self.register_exporters = register_exporters


def run(folder: Path, faults: dict[str, Any] | None = None, **keys: Any) -> list[Event]:
    plugins = plugins_of(Faults(**(faults or {})))
    keys = {"export": ["a.png"], "steps": 4, **keys}
    if faults:
        keys["losses"] = ["fault"]
    events = []
    try:
        for event in perform(tiny_recipe(plugins, **keys), folder, keys.pop("stop", lambda: False)):
            events.append(event)
    finally:
        run.events = events  # type: ignore[attr-defined]
    return events


def status(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run.json").read_text())


def test_events_come_in_order_and_are_recorded(tmp_path: Path) -> None:
    events = run(tmp_path)
    kinds = [event.kind for event in events]
    assert kinds == ["planned", "building", "started", *["step"] * 4, "saved", "result"]
    assert [e.data["step"] for e in events if e.kind == "step"] == [0, 1, 2, 3]
    assert events[-1].data["ok"] is True
    assert events[-1].data["steps_done"] == 4
    assert events[-1].data["outputs"] == [str(tmp_path / "a.png")]
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert lines[0]["event"] == "planned"
    assert lines[-1]["event"] == "result"
    assert status(tmp_path)["status"] == "done"
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (24, 24)


def test_the_folder_holds_the_recipe_as_written_and_as_resolved(tmp_path: Path) -> None:
    recipe = tiny_recipe(export=["a.png"])
    list(perform(recipe, tmp_path))
    assert (tmp_path / "recipe.yaml").read_text() == recipe.sources[0][1]
    from pixweave import load

    again = load([tmp_path / "resolved.yaml"], plugins_of())
    assert again == recipe


def test_the_resolved_recipe_draws_the_same_picture(tmp_path: Path) -> None:
    from pixweave import load

    recipe = tiny_recipe(export=["a.png"], seed="random")
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    list(perform(recipe, first))
    list(perform(load([first / "resolved.yaml"], plugins_of()), second))
    assert (first / "a.png").read_bytes() == (second / "a.png").read_bytes()


def test_stopping_keeps_the_picture_and_says_how_far_it_got(tmp_path: Path) -> None:
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) == 2

    events = list(perform(tiny_recipe(export=["a.png"], steps=9), tmp_path, stop))
    assert events[-1].data["status"] == "interrupted"
    assert events[-1].data["steps_done"] == 2
    assert (tmp_path / "a.png").exists()
    assert status(tmp_path)["status"] == "interrupted"
    assert status(tmp_path)["steps_done"] == 2


def test_leaving_the_events_early_still_saves(tmp_path: Path) -> None:
    events = perform(tiny_recipe(export=["a.png"], steps=9), tmp_path)
    while next(events).kind != "step":
        pass
    events.close()  # type: ignore[attr-defined]
    assert (tmp_path / "a.png").exists()
    assert status(tmp_path)["steps_done"] == 1


def test_an_error_at_a_later_step_keeps_what_was_drawn(tmp_path: Path) -> None:
    with pytest.raises(PartError, match="raised ValueError: boom"):
        run(tmp_path, {"step": 2, "error": ValueError("boom")})
    assert (tmp_path / "a.png").exists()
    assert status(tmp_path)["status"] == "failed"
    assert status(tmp_path)["steps_done"] == 2


def test_an_error_before_the_first_picture_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(PartError, match="raised ValueError: boom"):
        run(tmp_path, {"step": 0, "error": ValueError("boom")})
    assert not (tmp_path / "a.png").exists()
    assert status(tmp_path)["status"] == "failed"


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(PartError) as caught:
        run(tmp_path, {"nan": 3})
    assert str(caught.value) == (
        "loss 'fault' (tiny.yaml:1, plugin plugin0) gave nan at step 3; if its formula is right, "
        "lower optimizer.rate"
    )


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes"),
    ],
)
def test_a_full_device_names_the_settings_that_help(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(OutOfMemoryError) as caught:
        run(tmp_path, {"step": 1, "error": error})
    assert str(caught.value) == (
        f"loss 'fault' (tiny.yaml:1, plugin plugin0) ran out of memory ({error}); "
        "try a smaller crops.batch (say 4), fewer crops.count, or a smaller size"
    )
    assert caught.value.exit_code == 6


def test_an_exporter_that_fails_costs_no_other_its_file(tmp_path: Path) -> None:
    with pytest.raises(RunError) as caught:
        run(tmp_path, export=["a.png", "b.leak"])
    assert str(caught.value) == (
        "exporter 'leaky' (tiny.yaml:1, plugin plugin0) raised OSError: [Errno 28] No space left "
        "on device (test_perform.py:46)"
    )
    assert (tmp_path / "a.png").exists()
    assert run.events[-1].data["ok"] is False  # type: ignore[attr-defined]


def test_words_that_a_perceptor_cannot_hold_are_named(tmp_path: Path) -> None:
    events = run(tmp_path, prompts=["one two three four five six seven eight nine ten"])
    (warning,) = [e.data["message"] for e in events if e.kind == "warning"]
    assert warning.partition(": ")[2] == (
        "perceptor 'fake' ignores the end of the prompt: 'nine ten'"
    )
