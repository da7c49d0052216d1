"""Fixtures shared by all tests."""

from __future__ import annotations

import itertools
import os
import tempfile
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "2")
for name in ("PIXWEAVE_PLUGINS_DIR", "PIXWEAVE_WITHOUT", "PIXWEAVE_STRICT", "PIXWEAVE_RAISE"):
    os.environ.pop(name, None)

HOMES = Path(tempfile.mkdtemp(prefix="pixweave-homes-"))
NUMBERS = itertools.count()


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own for each test, so that none knows what another encoded."""
    monkeypatch.setenv("PIXWEAVE_HOME", str(HOMES / str(next(NUMBERS))))
