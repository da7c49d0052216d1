"""Measure rclip's own code on the tasks of search.py, without its weights.

    OMP_NUM_THREADS=1 python benchmarks/search_rclip.py --vectors 100000 --photos 24

Run it in an environment in which rclip is installed. rclip's search runs unmodified on its own
database, with a given text vector instead of its text tower's output; its reader runs on the same
photographs as ours, without the image tower. So the figures include neither side's neural network.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from rclip import db, main, model


class GivenText(model.Model):
    """rclip's model with a given text vector."""

    goal = np.zeros(512, np.float32)

    def compute_features_for_queries(self, queries):
        """Return the given vector for the query, and zeros for the subtracted queries."""
        return self.goal if queries else np.zeros_like(self.goal)


def run() -> None:
    """Print the measurements."""
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--vectors", type=int, default=100_000)
    options.add_argument("--photos", type=int, default=24)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        searching(Path(folder), asked.vectors)
        reading(Path(folder), asked.photos)


def searching(folder: Path, count: int) -> None:
    """Time rclip's search on its own database."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(count, 512)).astype(np.float32) + 0.8
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    store = db.DB(folder / "rclip.sqlite")
    for i, vector in enumerate(vectors):
        image = {
            "filepath": f"/p/{i}",
            "modified_at": 1.0,
            "size": 1,
            "hash": str(i),
            "vector": vector.tobytes(),
        }
        store.upsert_image(image, commit=False)
    store.commit()
    seeing = GivenText()
    seeing.goal = vectors[7] + rng.normal(size=512).astype(np.float32) / 20
    searcher = main.RClip(seeing, store, 8, None)
    took = []
    for _ in range(5):
        began = time.perf_counter()
        assert searcher.search("q", "/p")[0].filepath == "/p/7"
        took.append(1000 * (time.perf_counter() - began))
    print(f"rclip's search: median {statistics.median(took):.0f} ms, least {min(took):.0f} ms")


def reading(folder: Path, count: int) -> None:
    """Time rclip's reader on the photographs of search.py, in one thread."""
    rng = np.random.default_rng(0)
    for i in range(count):
        small = Image.fromarray(rng.integers(0, 256, (60, 80, 3), np.uint8))
        big = np.asarray(small.resize((4000, 3000), Image.Resampling.BICUBIC)).astype(np.int16)
        big += rng.integers(-6, 7, big.shape, np.int16)
        Image.fromarray(big.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.jpg", quality=88)
    paths = sorted(map(str, folder.glob("*.jpg")))
    main._read_and_preprocess(paths[0])
    began = time.perf_counter()
    for path in paths:
        main._read_and_preprocess(path)
    print(f"rclip's reader: {count / (time.perf_counter() - began):.1f} pictures/s")


if __name__ == "__main__":
    run()
