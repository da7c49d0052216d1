"""Every kind of part is named in the same way when it comes from an installed package."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import test_borders as in_a_run
import test_borders_elsewhere as elsewhere

from pixweave import Plugins
from pixweave.testing import FakePlugin

NONE = "has a build(run) that returned None; return the object that does the work"
CASES: dict[str, Callable[[Path], None]] = {
    "generator": lambda folder: in_a_run.test_a_generator(
        folder, in_a_run.generator_source(built="None"), NONE
    ),
    "perceptor": lambda folder: in_a_run.test_a_perceptor(
        folder,
        in_a_run.perceptor_source("vectors * 3"),
        "gave a vector of length 3; it must give vectors of length 1",
    ),
    "loss": lambda folder: in_a_run.test_a_loss(
        folder, "return None", f"gave None; {in_a_run.SCALAR}"
    ),
    "augmentation": lambda folder: in_a_run.test_an_augmentation(
        folder, "return None", f"gave None; {in_a_run.CROPS}"
    ),
    "filter": lambda folder: in_a_run.test_a_filter_and_not_the_exporter(
        folder, "return None", f"gave None; {in_a_run.SIZE}"
    ),
    "exporter": lambda folder: in_a_run.test_an_exporter_costs_nobody_else_a_file(
        folder,
        in_a_run.exporter_source(close="return None"),
        "gave None; it must give the list of the paths that it wrote from close()",
    ),
    "stage": lambda folder: in_a_run.test_a_stage(
        folder, "yield 'hello'", "gave a str; it must give pixweave.Event objects"
    ),
    "classifier": lambda folder: elsewhere.test_a_classifier(
        folder, "Scores(values * 3)", f"gave values in 1.5..1.5; {elsewhere.WANTED}"
    ),
    "sampler": lambda folder: elsewhere.test_a_sampler(
        folder, "None", f"gave None; {elsewhere.SAMPLE}"
    ),
    "codec": lambda folder: elsewhere.test_a_codec(
        folder,
        {"ENCODE": "torch.zeros(1, 4, 3, 3)"},
        "gave [1, 4, 3, 3] float32; it must give [1, D, 2, 2] float from encode",
    ),
    "searcher": lambda folder: elsewhere.test_a_searcher(
        folder, "None", f"gave None; {elsewhere.ARRAYS}"
    ),
    "executor": lambda folder: elsewhere.test_an_executor(folder, "1", "None", NONE),
    "trainer": lambda folder: elsewhere.test_a_trainer(
        folder,
        "0.5",
        "Built()",
        "gave 0.5; it must give a mapping of names to numbers from step()",
    ),
}


def install(folder: Path, source: str) -> Plugins:
    """The plugins, with one installed package whose entry point is called `mine`."""
    (folder / "mine_installed.py").write_text(elsewhere.HEAD + source)
    info = folder / "mine_installed-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine-installed\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[pixweave]\nmine = mine_installed\n")
    plugins = Plugins.discover()
    plugins.add(FakePlugin, FakePlugin.name)
    assert plugins.broken == {}
    assert (plugins.loaded["mine"].origin, plugins.loaded["mine"].version) == (
        "mine-installed",
        "2.0",
    )
    return plugins


@pytest.mark.parametrize("kind", CASES)
def test_a_part_of_an_installed_package(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mine_installed", raising=False)
    module: Any
    for module in (in_a_run, elsewhere):
        monkeypatch.setattr(module, "plugins_from", install)
    CASES[kind](tmp_path)


def test_no_kind_is_left_out() -> None:
    from pixweave.plugins import HOOKS

    assert set(CASES) == set(HOOKS)
