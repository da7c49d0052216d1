"""Dataset: all images at one size in one array on disk, their captions, and a held-out split."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pixweave.errors import MissingError
from pixweave.media.images import square, square_from_file
from pixweave.train.sources import Source, Words, read_source

if TYPE_CHECKING:
    from torch import Tensor

HELD, MOST_HELD = 0.02, 1000
"""The fraction of the images that are held out from training, and their maximum number."""

NAMED = 10
"""How many unreadable images a warning names."""

Array = np.ndarray[Any, Any]


class Stopped(Exception):  # noqa: N818 - not an error: the user asked for it
    """Preparing the images was stopped on request."""


class Dataset:
    """N square images with their captions, labels and facts.

    `pixels` is uint8 `[N, S, S, 3]`, on disk. `captions` has one or more texts for each image,
    `labels` one (the first caption if the data has none). `claims`, parallel to the captions, are
    the facts that each caption states; `facts` are all that is true of the image; both are None
    if no data has them. `train` and `held` are disjoint arrays of rows, drawn by the seed.
    """

    def __init__(self, pixels: Array, words: Words, seed: int = 0, digest: str = "") -> None:
        self.pixels = pixels
        self.captions, self.labels = words.captions, words.labels
        self.claims, self.facts = words.claims, words.facts
        order = np.random.default_rng(seed).permutation(len(pixels))
        count = min(max(round(len(pixels) * HELD), 1), MOST_HELD) if len(pixels) > 1 else 0
        self.held, self.train = np.sort(order[:count]), np.sort(order[count:])
        sample = np.linspace(0, len(pixels) - 1, min(len(pixels), 64)).astype(np.int64)
        hashed = hashlib.blake2b(digest.encode(), digest_size=16)
        hashed.update(np.ascontiguousarray(pixels[sample]).tobytes())
        self.digest = hashed.hexdigest()
        """Digest of the captions and a sample of the images, to detect other data."""

    def __len__(self) -> int:
        return len(self.pixels)

    @property
    def side(self) -> int:
        """Width and height of every image in pixels."""
        return int(self.pixels.shape[1])

    def images(self, rows: Sequence[int] | Array) -> Tensor:
        """The images of these rows as float32 `[B, 3, S, S]`, 0..1, on the CPU."""
        import torch

        chosen = self.pixels[np.asarray(rows)].transpose(0, 3, 1, 2)
        return torch.from_numpy(np.ascontiguousarray(chosen)).float().div_(255)


def open_dataset(
    data: Sequence[Path],
    side: int,
    seed: int,
    folder: Path,
    tell: Callable[[int, int], None] = lambda done, total: None,
    warn: Callable[[str], None] = lambda message: None,
    stop: Callable[[], bool] = lambda: False,
) -> Dataset:
    """The images of all data at `side` pixels, prepared once in `folder`.

    A single packed folder of that size is used in place. `tell(done, total)` is called with the
    number of prepared images, `warn` with the unreadable ones. Raises MissingError, RecipeError,
    Stopped.
    """
    sources = [read_source(path) for path in data]
    digest = " ".join(source.digest for source in sources)
    first = sources[0].pixels
    if len(sources) == 1 and first is not None and first.shape[1] == side:
        return Dataset(first, sources[0].words, seed, digest)
    pixels, rows = _prepared(sources, side, folder, tell, warn, stop)
    words = _joined([source.words for source in sources])
    if len(rows) < len(words.captions):
        words = words.take(rows)
        digest += f" {rows}"
    return Dataset(pixels, words, seed, digest)


def check_sources(data: Sequence[Path], stop: Callable[[], bool]) -> tuple[list[Source], list[str]]:
    """The sources, and an error message for each image whose file cannot be opened."""
    from PIL import Image, UnidentifiedImageError

    def opens(path: Path) -> str:
        try:
            Image.open(path).close()
        except (OSError, ValueError, SyntaxError, UnidentifiedImageError) as error:
            return f"cannot read '{path}' as an image: {error}"
        return ""

    sources, faults = [read_source(path) for path in data], []
    with warnings.catch_warnings(action="ignore"), _pool() as pool:
        for source in sources:
            for files in _chunks(source.files):
                faults += [fault for fault in pool.map(opens, files) if fault]
                if stop():
                    raise Stopped
    return sources, faults


def _joined(parts: Sequence[Words]) -> Words:
    """The words of all sources; captions replace missing claims or facts if others have them."""
    if len(parts) == 1:
        return parts[0]
    joined = Words()
    if any(part.claims is not None for part in parts):
        joined.claims = []
    if any(part.facts is not None for part in parts):
        joined.facts = []
    for part in parts:
        joined.captions += part.captions
        joined.labels += part.labels
        if joined.claims is not None:
            captions = [[[text] for text in texts] for texts in part.captions]
            joined.claims += part.claims or captions
        if joined.facts is not None:
            joined.facts += part.facts or part.captions
    return joined


def _prepared(
    sources: Sequence[Source],
    side: int,
    folder: Path,
    tell: Callable[[int, int], None],
    warn: Callable[[str], None],
    stop: Callable[[], bool],
) -> tuple[Array, list[int]]:
    """Every readable image `[N, side, side, 3]` and its row among all images of the sources."""
    key = hashlib.blake2b(f"1 {side}".encode(), digest_size=16)
    for source in sources:
        for line in source.key():
            key.update(line.encode())
    prepared = folder / f"pictures-{key.hexdigest()[:16]}"
    if not prepared.is_dir():
        part = folder / f".{prepared.name}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            _write(sources, side, part, tell, stop)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        for old in folder.glob("pictures-*"):
            shutil.rmtree(old, ignore_errors=True)
        part.rename(prepared)
    index = json.loads((prepared / "index.json").read_text("utf-8"))
    if index["faults"]:
        warn(describe_faults(index["faults"]))
    shape = (len(index["rows"]), side, side, 3)
    return np.memmap(prepared / "pixels", np.uint8, "r", shape=shape), index["rows"]


def describe_faults(faults: Sequence[str]) -> str:
    """A warning that names the first unreadable images and counts the rest."""
    count = "1 image is" if len(faults) == 1 else f"{len(faults)} images are"
    more = f"\n  and {len(faults) - NAMED} more" if len(faults) > NAMED else ""
    return f"{count} left out:\n  " + "\n  ".join(faults[:NAMED]) + more


def _write(
    sources: Sequence[Source],
    side: int,
    folder: Path,
    tell: Callable[[int, int], None],
    stop: Callable[[], bool],
) -> None:
    total = sum(len(source) for source in sources)
    rows: list[int] = []
    faults: list[str] = []
    row = 0
    with (
        (folder / "pixels").open("wb") as file,
        warnings.catch_warnings(action="ignore"),
        _pool() as pool,
    ):
        for source in sources:
            for found in _squares(source, side, pool):
                if isinstance(found, str):
                    faults.append(found)
                else:
                    file.write(found.tobytes())
                    rows.append(row)
                row += 1
                if row % 64 == 0 or row == total:
                    tell(row, total)
                    if stop():
                        raise Stopped
    if not rows:
        raise MissingError(f"none of the images can be read; {describe_faults(faults)}")
    index = {"rows": rows, "faults": faults}
    (folder / "index.json").write_text(json.dumps(index), "utf-8")


def _squares(source: Source, side: int, pool: ThreadPoolExecutor) -> Iterator[Array | str]:
    """The images of a source in order, uint8 `[side, side, 3]`, or an error message."""

    def from_file(path: Path) -> Array | str:
        try:
            return square_from_file(path, side)
        except MissingError as error:
            return str(error)

    def from_array(pixels: Array) -> Array | str:
        from PIL import Image

        return pixels if len(pixels) == side else square(Image.fromarray(pixels), side)

    if source.pixels is None:
        for files in _chunks(source.files):
            yield from pool.map(from_file, files)
    else:
        for start in range(0, len(source.pixels), 256):
            yield from pool.map(from_array, source.pixels[start : start + 256])


def _chunks(files: Sequence[Path]) -> Iterator[Sequence[Path]]:
    """Chunks of 256 files: a pool given all of them would keep all results in memory."""
    for start in range(0, len(files), 256):
        yield files[start : start + 256]


def _pool() -> ThreadPoolExecutor:
    """OMP_NUM_THREADS threads if set, else one per core; Pillow releases the GIL."""
    value = os.environ.get("OMP_NUM_THREADS", "")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ThreadPoolExecutor(int(value) if value.isdecimal() and int(value) else cores)
