"""Rows of an index: files, their decoded images and their vectors.

Used for a stream of files in one process, and for a shard in a worker.
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
    """A file, its decoded image, and its vectors `[K, D]`; None if it was not encoded."""


def encode_rows(
    files: Iterable[ImageFile | UnreadableImage],
    preprocessing: Preprocessing,
    embedder: Embedder,
    is_known: Callable[[bytes], bool],
    readers: int,
    size: int,
) -> Generator[list[Row], None, None]:
    """The rows of the files, in batches of `size`; each new content is encoded once."""
    from pixweave.loading import read_images

    with closing(read_images(files, preprocessing, is_known, readers, 4 * size)) as reading:
        while batch := list(islice(reading, size)):
            yield _encode_batch(batch, embedder)


def _encode_batch(
    batch: list[tuple[ImageFile | UnreadableImage, DecodedImage | UnreadableImage]],
    embedder: Embedder,
) -> list[Row]:
    import numpy as np

    new: dict[bytes, DecodedImage] = {}
    for _, image in batch:
        if not isinstance(image, UnreadableImage) and image.pixels is not None:
            new.setdefault(image.digest, image)
    vectors: dict[bytes, Array] = {}
    if new:
        squares = [image.pixels for image in new.values() if image.pixels is not None]
        encoded = embedder.encode_pictures(np.concatenate(squares))
        ends = np.cumsum([len(square) for square in squares])[:-1]
        vectors = dict(zip(new, np.split(encoded, ends), strict=True))
    return [
        (
            file,
            image,
            None if isinstance(image, UnreadableImage) else vectors.pop(image.digest, None),
        )
        for file, image in batch
    ]
