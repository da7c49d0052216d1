"""Measure an index of many small images: create, update, interrupt, run in workers.

    OMP_NUM_THREADS=1 python benchmarks/index.py --pictures 10000 --kills 20

Every step runs the whole command, including start-up and imports. The images are synthetic, 48
pixels wide, each with different content. The script also asserts the expected behaviour: unchanged
files are not opened, moved files are not encoded, Ctrl-C ends within two seconds and keeps finished
work, and everything reported as committed survives `kill -9`.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

QUICK = (
    "import sys; from pixweave.search import indexing; indexing.COMMIT_EVERY = 0.05\n"
    "from pixweave.cli import cli; cli(sys.argv[1:])"
)
"""The command, committing every twentieth of a second, so that kills hit a commit."""


def main() -> None:
    """Print the measurements."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--pictures", type=int, default=10_000)
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--executor", default="{use: local, workers: 2}")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root, "pictures")
        gallery(folder, asked.pictures)
        alone = Path(root, "alone")
        stopping(folder, alone, asked.pictures)
        changes(folder, alone, asked.pictures)
        killing(folder, Path(root, "killed"), asked.kills)
        sharing(folder, Path(root), asked.executor)


def gallery(folder: Path, count: int) -> None:
    """Write small images, in folders of a hundred."""
    rng = random.Random(0)
    for i in range(count):
        home = folder / f"{i // 100:03}"
        home.mkdir(parents=True, exist_ok=True)
        made = Image.new("RGB", (48, 48), f"#{rng.randrange(1 << 24):06x}")
        pen = ImageDraw.Draw(made)
        pen.ellipse([rng.randrange(24), rng.randrange(24), 40, 40], f"#{i:06x}")
        made.save(home / f"{i:05}.png", compress_level=1)


def words(folder: Path, at: Path) -> list[str]:
    """Return the arguments of the command."""
    return ["index", str(folder), "--index", str(at), "--json"]


def index(what: str, folder: Path, at: Path, *more: str) -> dict[str, Any]:
    """Run the command, print how long it took, and return its result."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "pixweave", *words(folder, at), *more]
    done = subprocess.run(command, capture_output=True, text=True)
    took = time.perf_counter() - began
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    result["took"] = took
    told = {name: result[name] for name in ("encoded", "reused", "unchanged", "removed", "broken")}
    counts = ", ".join(f"{count} {name}" for name, count in told.items() if count)
    rate = (result["encoded"] + result["reused"]) / took
    print(f"{what}: {took:.2f} s, {counts}" + (f"; {rate:.0f} pictures/s" if rate else ""))
    return result


def stopping(folder: Path, at: Path, count: int) -> None:
    """Interrupt with Ctrl-C after a third, then index the rest."""
    running = subprocess.Popen(
        [sys.executable, "-m", "pixweave", *words(folder, at)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert running.stdout is not None
    for line in running.stdout:
        told = json.loads(line)
        if told["encoded"] >= count / 3:
            break
    began = time.perf_counter()
    running.send_signal(signal.SIGINT)
    last = [json.loads(line) for line in running.stdout][-1]
    code, took = running.wait(), time.perf_counter() - began
    running.stdout.close()
    kept = rows(at)
    print(
        f"Ctrl-C after {told['encoded']}: exit {code} in {took:.2f} s, {kept} kept of "
        f"{last['encoded']} encoded"
    )
    assert code == 130
    assert took < 2
    assert kept >= 0.95 * last["encoded"]
    rest = index("the rest", folder, at)
    assert rest["encoded"] == count - kept


def changes(folder: Path, at: Path, count: int) -> None:
    """Update after no change, then renames, deletions, a new modification time, new content."""
    tenth, hundredth = count // 10, count // 100
    opened = traced(folder, at)
    again = index("nothing changed", folder, at)
    print(f"  picture files opened: {opened}")
    assert again["unchanged"] == count
    assert again["took"] < 2
    assert opened == "0" or opened.startswith("unknown")
    pictures = sorted(folder.glob("*/*.png"))
    for path in pictures[:tenth]:
        path.rename(path.with_name(f"moved-{path.name}"))
    moved = index(f"{tenth} renamed", folder, at)
    assert (moved["encoded"], moved["reused"], moved["removed"]) == (0, tenth, tenth)
    for path in pictures[tenth : tenth + hundredth]:
        path.unlink()
    gone = index(f"{hundredth} deleted", folder, at)
    assert (gone["encoded"], gone["removed"]) == (0, hundredth)
    os.utime(pictures[-1], (1, 1))
    touched = index("one touched", folder, at)
    assert (touched["encoded"], touched["reused"]) == (0, 1)
    change(pictures[-2])
    changed = index("one changed, of the same size", folder, at)
    assert (changed["encoded"], changed["unchanged"]) == (1, count - hundredth - 1)


def change(path: Path) -> None:
    """Replace the image, keeping the file size; a PNG may have trailing bytes."""
    size = path.stat().st_size
    Image.new("RGB", (48, 48), "#123456").save(path)
    with path.open("ab") as file:
        file.write(bytes(size - path.stat().st_size))
    assert path.stat().st_size == size


def traced(folder: Path, at: Path) -> str:
    """Return how many image files the command opens, counted by strace if it is installed."""
    strace = shutil.which("strace")
    if strace is None:
        return opened_by_hook(folder, at)
    command = [sys.executable, "-m", "pixweave", *words(folder, at)]
    done = subprocess.run(
        [strace, "-f", "-e", "trace=open,openat", *command], capture_output=True, text=True
    )
    return str(sum(".png" in line for line in done.stderr.splitlines()))


def opened_by_hook(folder: Path, at: Path) -> str:
    """Count by Python's audit events instead; these miss files opened by C libraries."""
    code = (
        "import sys\nnumber = [0]\n"
        "def hook(event, args):\n"
        "    if event == 'open' and str(args[0]).endswith('.png'): number[0] += 1\n"
        "sys.addaudithook(hook)\nfrom pixweave.cli import cli\n"
        "try: cli(sys.argv[1:])\nfinally: print('opened', number[0], file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words(folder, at)], capture_output=True, text=True
    )
    return done.stderr.split("opened ")[-1].strip()


def killing(folder: Path, at: Path, kills: int) -> None:
    """Kill with `kill -9` at random moments; everything reported as committed must be there."""
    rng, safe, lost = random.Random(1), 0, 0
    for _ in range(kills):
        running = subprocess.Popen(
            [sys.executable, "-c", QUICK, *words(folder, at), "--batch", "16"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert running.stdout is not None
        until = rng.randrange(1, 6)
        told = {"committed": 0, "unchanged": 0}
        for _, line in zip(range(until), running.stdout, strict=False):
            told = json.loads(line)
        time.sleep(rng.random() * 0.05)
        running.kill()
        for line in running.stdout:
            if line.endswith("\n"):
                told = json.loads(line)
        running.stdout.close()
        running.wait()
        safe = max(safe, told["committed"] + told["unchanged"])
        lost += max(0, safe - rows(at))
    print(f"{kills} kills: {lost} lost of {safe} that were told; {rows(at)} in the index")
    assert lost == 0


def sharing(folder: Path, root: Path, executor: str) -> None:
    """Index the same images from scratch in one process and with an executor."""
    one = index("in one process", folder, root / "one")
    two = index(f"with {executor}", folder, root / "two", "--executor", executor)
    assert one["encoded"] == two["encoded"]
    assert contents(root / "one") == contents(root / "two")
    print(f"the executor took {two['took'] / one['took']:.2f} times as long")


def contents(at: Path) -> Any:
    """Return every path with the digest of its content."""
    with sqlite3.connect(at / "index.sqlite") as db:
        found = db.execute(
            "SELECT f.path, c.digest FROM files f JOIN contents c ON c.id = f.content ORDER BY 1"
        ).fetchall()
    db.close()
    return found


def rows(at: Path) -> int:
    """Return how many files have vectors, after an integrity check of the database."""
    with sqlite3.connect(at / "index.sqlite") as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        count = db.execute(
            "SELECT COUNT(*) FROM files f JOIN vectors v ON v.content = f.content"
        ).fetchone()[0]
    db.close()
    return int(count)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
