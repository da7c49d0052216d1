"""Measure the index: searching many vectors, and reading and encoding large photographs.

    OMP_NUM_THREADS=1 python benchmarks/search.py --vectors 100000 --photos 24

The vectors are synthetic, with distances like those of a CLIP's image vectors. The photographs are
synthetic too: 12 megapixels, smooth with grain, 4:2:0. `rclip's way` reads as rclip 3.3 does (full
decode, convert, bicubic, no orientation) with the same threads and perceptor. Random weights of
ViT-B/32 take as long as trained ones. Its query is imitated as well: load all blobs from SQLite,
multiply, keep the best in a heap. Both imitations are in this file; search_rclip.py measures
rclip's own code.
"""

from __future__ import annotations

import argparse
import heapq
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pixweave import Plugins
from pixweave.embedding.text_embedding_cache import keep
from pixweave.engine.embedders import open_embedder
from pixweave.loading import DecodedImage, ImageFile, find_images, read_images
from pixweave.search import Query, Term, open_index


def main() -> None:
    """Print the measurements."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--vectors", type=int, default=100_000)
    options.add_argument("--dim", type=int, default=512)
    options.add_argument("--photos", type=int, default=24)
    options.add_argument("--named", type=int, default=10_000, help="vectors to classify")
    options.add_argument("--small", type=int, default=1000, help="small pictures to classify")
    options.add_argument("--threads", type=int, default=1)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if asked.vectors:
            searching(Path(folder), asked.vectors, asked.dim)
        if asked.named:
            naming(Path(folder) / "named", asked.named)
        if asked.small:
            small(Path(folder) / "small", asked.small)
        if asked.photos:
            reading(Path(folder), asked.photos, asked.threads)


def naming(folder: Path, count: int) -> None:
    """Time the whole command `classify --index`, for ten synthetic vectors and for `count`."""
    os.environ["PIXWEAVE_HOME"] = str(folder / "home")
    rng = np.random.default_rng(0)
    for some in (10, count):
        vectors = rng.normal(size=(some, 192)).astype(np.float32) + 0.8
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        with open_index(folder / str(some), "tiny", make=True, plugins=Plugins.discover()) as index:
            fill(index, vectors)
        words = [
            sys.executable,
            "-m",
            "pixweave",
            "classify",
            "--index",
            str(folder / str(some)),
            "--labels",
            "a cat,a dog,a house",
            "-q",
        ]
        print(
            f"classify an index of {some}, whole command:",
            timed(partial(subprocess.run, words, check=True, capture_output=True), 5),
        )


def small(folder: Path, count: int) -> None:
    """Time the whole commands `index` and `classify` on the same small images."""
    folder.mkdir()
    os.environ["PIXWEAVE_HOME"] = str(folder / "home")
    rng = np.random.default_rng(0)
    for i in range(count):
        coarse = rng.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(coarse).resize((256, 256)).save(folder / f"{i:05}.jpg")
    for words in (
        ["index", folder, "--index", folder / "index", "-q"],
        ["classify", folder, "--labels", "a cat,a dog,a house", "-q"],
    ):
        began = time.perf_counter()
        whole = [sys.executable, "-m", "pixweave", *map(str, words)]
        subprocess.run(whole, check=True, capture_output=True)
        print(f"{words[0]}: {count / (time.perf_counter() - began):.0f} pictures/s, whole command")


def fill(index: Any, vectors: np.ndarray[Any, Any]) -> Any:
    """Add vectors to an empty index, each with its own file; return their model."""
    model = index.store.model(
        index.embedder.identity, "crop/64/bicubic/ffffff/1", vectors.shape[1], '{"use": "tiny"}'
    )
    halves = vectors.astype(np.float16)
    with index.store.writing() as db:
        for i in range(len(vectors)):
            db.execute("INSERT INTO contents VALUES(?,?,9,9,'png',1)", (i + 1, b"%d" % i))
            db.execute("INSERT INTO files VALUES(?,?,1,1,?,NULL)", (i + 1, f"/p/{i}", i + 1))
            db.execute(
                "INSERT INTO vectors VALUES(?,?,?,0,?)",
                (i + 1, model.id, i + 1, halves[i].tobytes()),
            )
    return model


def searching(folder: Path, count: int, dim: int) -> None:
    """Time the library's search, the whole command, and the imitation of rclip."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(count, dim)).astype(np.float32) + 0.8
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    goal = vectors[7] + rng.normal(size=dim).astype(np.float32) / 20
    at = folder / "index"
    os.environ["PIXWEAVE_HOME"] = str(folder / "home")  # the synthetic text vector is cached here
    with open_index(at, "tiny", make=True, plugins=Plugins.discover()) as index:
        fill(index, vectors)
        keep(index.embedder.identity, {"q": goal / np.linalg.norm(goal)})
        began = time.perf_counter()
        index.matrix()
        print(f"matrix of {count} x {dim} made in {time.perf_counter() - began:.2f} s")
        query = Query([Term("q")], top=10)
        exact = timed(lambda: index.search(query))
        product = timed(lambda: index.matrix().vectors @ goal)
        print(f"search: {exact}; of that the product: {product}")
    words = [sys.executable, "-m", "pixweave", "search", "q", "--index", str(at)]
    print(
        "whole command, text vector known:",
        timed(lambda: subprocess.run(words, check=True, capture_output=True), 5),
    )
    db = sqlite3.connect(folder / "rclip.sqlite")
    db.execute("CREATE TABLE images(id INTEGER PRIMARY KEY, filepath TEXT, vector BLOB)")
    rows = ((i, f"/p/{i}", vectors[i].tobytes()) for i in range(count))
    db.executemany("INSERT INTO images VALUES(?,?,?)", rows)
    db.commit()
    print("rclip's way:", timed(lambda: as_rclip(db, goal), 5))
    db.close()


def as_rclip(db: sqlite3.Connection, goal: Any) -> Any:
    """Read all rows from SQLite, in chunks, and return the ten best, from a heap."""
    best: list[tuple[float, str]] = []
    cursor = db.execute("SELECT filepath, vector FROM images")
    while rows := cursor.fetchmany(5000):
        features = np.stack([np.frombuffer(vector, np.float32) for _, vector in rows])
        scored = zip((features @ goal).tolist(), (path for path, _ in rows), strict=True)
        best = heapq.nlargest(10, [*best, *scored])
    return best


def reading(folder: Path, count: int, threads: int) -> None:
    """Time reading alone, and reading plus encoding."""
    photos = folder / "photos"
    photos.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        small = Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8))
        big = np.asarray(small.resize((4000, 3000), Image.Resampling.BICUBIC)).astype(np.int16)
        big += rng.integers(-6, 7, big.shape, np.int16)
        Image.fromarray(big.clip(0, 255).astype(np.uint8)).save(photos / f"{i}.jpg", quality=88)
    size = sum(p.stat().st_size for p in photos.iterdir()) / count / 1e6
    small = {"use": "open_clip", "model": "ViT-B-32", "pretrained": "random"}
    encoder = open_embedder(Plugins.discover(), small, precision="float32")
    print(f"{count} photographs of 12 MP, {size:.1f} MB; {encoder.info}, {threads} thread(s)")
    look = encoder.preprocessing()

    def ours() -> list[Any]:
        found = (one for one in find_images([photos]) if isinstance(one, ImageFile))
        return [
            got.pixels
            for _, got in read_images(found, look, workers=threads)
            if isinstance(got, DecodedImage)
        ]

    def theirs() -> list[Any]:
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(as_rclip_reads, sorted(photos.iterdir())))

    for name, read in (("ours", ours), ("rclip's way", theirs)):
        read()
        began = time.perf_counter()
        pixels = read()
        middle = time.perf_counter()
        stacked = np.concatenate(pixels)
        for start in range(0, count, 8):
            encoder.encode_pictures(stacked[start : start + 8])
        end = time.perf_counter()
        print(
            f"{name}: reading {count / (middle - began):.1f}, with encoding "
            f"{count / (end - began):.1f} pictures/s"
        )


def as_rclip_reads(path: Path) -> Any:
    """Decode the whole JPEG as RGB, resize its shorter side to 224, and crop the centre."""
    with Image.open(path) as opened:
        picture = opened.convert("RGB")
    short = min(picture.size)
    picture = picture.resize([224 * v // short for v in picture.size], Image.Resampling.BICUBIC)
    left, top = (picture.width - 224) // 2, (picture.height - 224) // 2
    return np.asarray(picture.crop((left, top, left + 224, top + 224)))[None]


def timed(do: Callable[[], Any], times: int = 20) -> str:
    """Return the median and the minimum time as text, in milliseconds."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        do()
        took.append(1000 * (time.perf_counter() - began))
    return f"median {statistics.median(took):.1f} ms, least {min(took):.1f} ms"


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
