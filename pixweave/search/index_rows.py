"""Rows of an index: files, what was read of them, the vectors that were made, and their way in.

What one process does with a stream of files, and what a worker does with a shard, is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any

from pixweave.loading import ImageFile, UnreadableImage

if TYPE_CHECKING:
    import numpy as np

    from pixweave.embedding.embedder import Embedder
    from pixweave.loading import DecodedImage, Preprocessing

    Array = np.ndarray[Any, Any]
    Row = tuple[ImageFile | UnreadableImage, DecodedImage | UnreadableImage, Array | None]
    """A file, what was read of it, and the vectors `[K, D]` where its content was encoded."""


def encode_rows(
    files: Iterable[ImageFile | UnreadableImage],
    preprocessing: Preprocessing,
    embedder: Embedder,
    is_known: Callable[[bytes], bool],
    readers: int,
    size: int,
) -> Generator[list[Row], None, None]:
    """The rows of the files, in batches of `size`; of contents that are new, each once."""
    from pixweave.loading import read_images

    with closing(read_images(files, preprocessing, is_known, readers, 4 * size)) as reading:
        while batch := list(islice(reading, size)):
            yield _encoded(batch, embedder)


def _encoded(
    batch: list[tuple[ImageFile | UnreadableImage, DecodedImage | UnreadableImage]],
    embedder: Embedder,
) -> list[Row]:
    import numpy as np

    fresh: dict[bytes, DecodedImage] = {}
    for _, got in batch:
        if not isinstance(got, UnreadableImage) and got.pixels is not None:
            fresh.setdefault(got.digest, got)
    vectors: dict[bytes, Array] = {}
    if fresh:
        squares = [got.pixels for got in fresh.values() if got.pixels is not None]
        made = embedder.encode_pictures(np.concatenate(squares))
        ends = np.cumsum([len(square) for square in squares])[:-1]
        vectors = dict(zip(fresh, np.split(made, ends), strict=True))
    return [
        (found, got, None if isinstance(got, UnreadableImage) else vectors.pop(got.digest, None))
        for found, got in batch
    ]
