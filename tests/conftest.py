"""Fixtures shared by all tests."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "2")
for name in ("PIXWEAVE_PLUGINS_DIR", "PIXWEAVE_WITHOUT", "PIXWEAVE_STRICT", "PIXWEAVE_RAISE"):
    os.environ.pop(name, None)
