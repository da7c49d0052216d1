"""An index run with worker processes that is killed in the midst of it, and what is in an index."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

RUN = (
    "import sys; from pixweave.search import indexing; indexing.COMMIT_EVERY = 1000.0\n"
    "from pixweave.cli import cli; cli(sys.argv[1:])"
)
"""The command, but nothing is committed before the end: what is finished is in the ledger."""


def kill_midway(folder: Path, at: Path, shard: int, least: int) -> list[str]:
    """Index with two processes, kill it when so many shards are done; gives all that were."""
    words = ["index", str(folder), "--index", str(at), "--shard", str(shard), "-q"]
    words += ["--executor", "{use: local, workers: 2}", "--batch", str(shard)]
    running = subprocess.Popen([sys.executable, "-c", RUN, *words])
    ledger = at / "ledger"
    until = time.monotonic() + 120
    while len(list(ledger.glob("*.shard"))) < least:
        assert running.poll() is None, "it ended before it was killed"
        assert time.monotonic() < until, "no shard was finished"
        time.sleep(0.01)
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
    running.send_signal(signal.SIGKILL)
    running.wait()
    for pid in children:  # workers that see that nobody listens any more
        while os.path.exists(f"/proc/{pid}"):
            assert time.monotonic() < until, "a worker did not end"
            time.sleep(0.01)
    return sorted(path.stem for path in ledger.glob("*.shard"))


def rows(at: Path) -> list[Any]:
    """Every path, size, time, digest, reason, frame and vector of an index."""
    with sqlite3.connect(at / "index.sqlite") as db:
        found = db.execute(
            "SELECT f.path, f.size, f.mtime_ns, c.digest, c.width, c.height, c.format, c.taken, "
            "f.reason, v.frame, v.vector FROM files f LEFT JOIN contents c ON c.id = f.content "
            "LEFT JOIN vectors v ON v.content = c.id ORDER BY f.path, v.frame"
        ).fetchall()
    db.close()
    return found
