"""Fixtures shared by all tests."""

from __future__ import annotations

import itertools
import os
from typing import Any

import pytest

from pixweave.testing import FakePerceptor

os.environ.setdefault("OMP_NUM_THREADS", "2")
for name in ("PIXWEAVE_PLUGINS_DIR", "PIXWEAVE_WITHOUT", "PIXWEAVE_STRICT"):
    os.environ.pop(name, None)

NUMBERS = itertools.count()


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A cache of its own for each test, so that none knows what another encoded."""
    homes = tmp_path_factory.getbasetemp() / "homes"
    monkeypatch.setenv("PIXWEAVE_HOME", str(homes / str(next(NUMBERS))))


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Every perceptor `fake` that is built while the test runs."""
    build, made = FakePerceptor.build, list[Any]()

    def counted(self: FakePerceptor, run: Any) -> Any:
        made.append(self)
        return build(self, run)

    monkeypatch.setattr(FakePerceptor, "build", counted)
    return made
