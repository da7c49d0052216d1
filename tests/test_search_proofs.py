"""Proofs of the index: broken files of many kinds, ten thousand pictures, Ctrl-C and kill -9."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pixweave.search.index_store import open_index_store

PIXWEAVE = [sys.executable, "-m", "pixweave"]


def picture(kind: str, mode: str = "RGB", size: tuple[int, int] = (40, 30), **how: Any) -> bytes:
    file = io.BytesIO()
    grey = np.linspace(0, 255, size[0] * size[1]).astype(np.uint8).reshape(size[::-1])
    Image.fromarray(grey).convert(mode).save(file, kind, **how)
    return file.getvalue()


def deep(dtype: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((20, 20), 1000, dtype)).save(file, "TIFF")
    return file.getvalue()


def zoo(folder: Path) -> tuple[set[str], dict[str, str]]:
    """Make it; gives the names that are pictures, and the others with the start of the reason."""
    exif = Image.Exif()
    exif[0x0112] = 6
    jpeg, png = picture("JPEG"), picture("PNG")
    good = {
        "cmyk.jpg": picture("JPEG", "CMYK"),
        "grey.jpg": picture("JPEG", "L"),
        "turned.jpg": picture("JPEG", exif=exif),
        "progressive.jpg": picture("JPEG", progressive=True),
        "bad_exif.jpg": picture("JPEG", exif=b"Exif\0\0MM\0*nonsense"),
        "really_a_png.jpg": png,
        "wrong_checksum.png": png[:60] + bytes(20) + png[80:],
        "junk_behind.jpg": jpeg + b"junk" * 9,
        "bits.png": picture("PNG", "1"),
        "palette.png": picture("PNG", "P"),
        "alpha.png": picture("PNG", "RGBA"),
        "grey_alpha.png": picture("PNG", "LA"),
        "int32.tif": deep(np.int32),
        "int16.tif": deep(np.uint16),
        "floats.tif": deep(np.float32),
        "lab.tif": picture("TIFF", "LAB"),
        "one_pixel.png": picture("PNG", size=(1, 1)),
        "strip.png": picture("PNG", size=(4000, 1)),
        "tower.png": picture("PNG", size=(1, 4000)),
        "moving.gif": picture("GIF", "P"),
        "moving.webp": picture("WEBP", save_all=True, append_images=[Image.new("RGB", (40, 30))]),
        "still.avif": picture("AVIF"),
        "windows.bmp": picture("BMP"),
        "raw.ppm": picture("PPM"),
        "SHOUTING.PNG": png,
        "sp ace 'quote\" ö 雪.png": picture("PNG", "L"),
        "new\nline.png": picture("PNG", size=(7, 7)),
        "old.tga": picture("TGA"),
        "icon.ico": picture("ICO", size=(32, 32)),
        "wavelets.jp2": picture("JPEG2000"),
    }
    bad = {
        "nothing.png": (b"", "the file is empty"),
        "text.jpg": (b"this is a text", "this is not an image in a supported format"),
        "page.png": (
            b"<!doctype html><title>404</title>",
            "this is not an image in a supported format",
        ),
        "zeros.jpg": (bytes(5000), "this is not an image in a supported format"),
        "cut.jpg": (picture("JPEG", size=(400, 400))[:3000], "image file is truncated"),
        "cut.png": (picture("PNG", size=(400, 400))[:-200], ""),
        "head.png": (png[:20], ""),
        "cut.gif": (picture("GIF", "P")[:30], ""),
        "huge.png": (
            picture("PNG", "1", (9000, 8000)),
            "it has too many pixels to read (9000x8000)",
        ),
        "bomb.png": (picture("PNG", "1", (20000, 10000)), "it has more pixels than are safe"),
    }
    folder.mkdir()
    for name, data in good.items():
        (folder / name).write_bytes(data)
    Image.new("RGB", (8, 8), "red").save(os.fsencode(folder) + b"/\xff\xfe.png")
    for name, (data, _) in bad.items():
        (folder / name).write_bytes(data)
    os.mkfifo(folder / "pipe.png")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "socket.png"))
    (folder / "lost.png").symlink_to("nowhere.png")
    (folder / "circle.png").symlink_to("circle.png")
    (folder / "loop").symlink_to(".", target_is_directory=True)
    (folder / "folder.png").mkdir()
    reasons = {name: reason for name, (_, reason) in bad.items()}
    reasons |= dict.fromkeys(("pipe.png", "socket.png"), "this is not a regular file")
    reasons |= dict.fromkeys(("lost.png", "circle.png"), "the link is broken")
    return {*good, os.fsdecode(b"\xff\xfe.png")}, reasons


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Image size")
def test_every_odd_file_is_indexed_or_listed_exactly_once(tmp_path: Path) -> None:
    good, bad = zoo(tmp_path / "zoo")
    assert len(good) + len(bad) >= 25
    index = ["--index", str(tmp_path / "index")]
    words = [*PIXWEAVE, "index", str(tmp_path / "zoo"), *index, "--json"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0
    assert done.stderr.startswith("encoding with tiny CLIP, ")
    assert done.stderr.count("\n") == 1
    events = [json.loads(line) for line in done.stdout.splitlines()]
    broken = [e for e in events if e["event"] == "broken"]
    listed = {os.path.basename(e["path"]): e["reason"] for e in broken}
    assert len(broken) == len(listed)
    assert set(listed) == set(bad)
    for name, reason in bad.items():
        assert listed[name].startswith(reason), name
        assert listed[name]
    asked = [*PIXWEAVE, "search", *index, "--top", "99", "-0"]
    found = subprocess.run(asked, capture_output=True).stdout.split(b"\0")[:-1]
    names = [os.path.basename(os.fsdecode(path)) for path in found]
    assert sorted(names) == sorted(good)
    again = subprocess.run(words, capture_output=True, text=True)
    (result,) = [json.loads(line) for line in again.stdout.splitlines()][-1:]
    assert (result["unchanged"], result["broken_before"]) == (len(good), len(bad))
    assert (result["encoded"], result["broken"]) == (0, 0)


def gallery(folder: Path, count: int) -> None:
    """Small pictures, each of its own content, in folders of a hundred."""
    rng = random.Random(0)
    for i in range(count):
        home = folder / f"{i // 100:03}"
        home.mkdir(parents=True, exist_ok=True)
        made = Image.new("RGB", (48, 48), f"#{rng.randrange(1 << 24):06x}")
        pen = ImageDraw.Draw(made)
        pen.ellipse([rng.randrange(24), rng.randrange(24), 40, 40], f"#{i:06x}")
        made.save(home / f"{i:05}.png", compress_level=1)


def index(folder: Path, at: Path, *words: str) -> dict[str, Any]:
    """Run the verb; gives its result."""
    done = subprocess.run(
        [*PIXWEAVE, "index", str(folder), "--index", str(at), "--json", *words],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


@pytest.mark.slow
def test_ten_thousand_pictures_stay_up_to_date(tmp_path: Path) -> None:
    folder, at = tmp_path / "g", tmp_path / "index"
    gallery(folder, 10_000)
    started = subprocess.Popen(
        [*PIXWEAVE, "index", str(folder), "--index", str(at), "--json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    for line in started.stdout:  # Ctrl-C at a third
        told = json.loads(line)
        if told["committed"] >= 3333:
            break
    before = told["committed"]
    started.send_signal(signal.SIGINT)
    rest = [json.loads(line) for line in started.stdout]
    assert started.wait() == 130
    result = rest[-1]
    started.stdout.close()
    assert result["stopped"]
    assert result["committed"] == result["encoded"] >= before  # every finished batch
    with open_index_store(at) as store:
        assert store.counts() == (result["committed"], 0)
    result = index(folder, at)
    assert result["unchanged"] == rest[-1]["committed"]
    assert result["encoded"] == 10_000 - result["unchanged"]
    result = index(folder, at)
    assert (result["unchanged"], result["encoded"], result["reused"]) == (10_000, 0, 0)
    moved = sorted(folder.glob("00?"))
    assert len(moved) == 10
    for home in moved:
        home.rename(home.with_name(f"x{home.name}"))
    for path in list((folder / "050").iterdir()):
        path.unlink()
    os.utime(folder / "060" / "06000.png", (1, 1))
    changed = folder / "060" / "06001.png"
    size = changed.stat().st_size
    other = (folder / "061" / "06100.png").read_bytes()
    changed.write_bytes(other[:size].ljust(size, b"\0"))
    result = index(folder, at)
    assert result["reused"] == 1001
    assert result["removed"] == 1100
    assert result["encoded"] + result["broken"] == 1
    assert result["unchanged"] == 8898
    shutil.rmtree(folder)


@pytest.mark.slow
def test_twenty_kills_lose_nothing_that_was_told(tmp_path: Path) -> None:
    folder, at = tmp_path / "g", tmp_path / "index"
    gallery(folder, 3000)
    rng = random.Random(1)
    safe = 0
    code = (
        "import sys; from pixweave.search import indexing; indexing.COMMIT_EVERY = 0.05\n"
        "from pixweave.cli import cli; cli(sys.argv[1:])"
    )
    words = [sys.executable, "-c", code, "index", str(folder), "--index", str(at), "--json"]
    for _ in range(20):
        running = subprocess.Popen([*words, "--batch", "16"], stdout=subprocess.PIPE, text=True)
        assert running.stdout is not None
        until = rng.randrange(1, 5)
        for _, line in zip(range(until), running.stdout, strict=False):
            told = json.loads(line)
        time.sleep(rng.random() * 0.05)
        running.kill()
        for line in running.stdout:  # what it had said before it died
            if line.endswith("\n"):
                told = json.loads(line)
        running.stdout.close()
        running.wait()
        safe = max(safe, told["committed"] + told["unchanged"])
        with sqlite3.connect(at / "index.sqlite") as db:
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            assert db.execute("SELECT COUNT(*) FROM vectors").fetchone()[0] >= safe
        db.close()
    result = index(folder, at)
    assert result["encoded"] + result["unchanged"] == 3000
    with open_index_store(at) as store:
        assert store.counts() == (3000, 0)
        assert store.models()[0].count == 3000
