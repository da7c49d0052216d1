"""Rows of an index: files, what was read of them, the vectors that were made, and their way in.

What one process does with a stream of files, and what a worker does with a shard, is the same.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from itertools import islice
from typing import TYPE_CHECKING, Any

from pixweave.loading import Fault, Found

if TYPE_CHECKING:
    import numpy as np

    from pixweave.embedding.embedder import Encoder
    from pixweave.loading import Look, Picture
    from pixweave.search.index_store import Store

    Array = np.ndarray[Any, Any]
    Row = tuple[Found | Fault, Picture | Fault, Array | None]
    """A file, what was read of it, and the vectors `[K, D]` where its content was encoded."""


def encode_rows(
    files: Iterable[Found | Fault], look: Look, encoder: Encoder,
    is_known: Callable[[bytes], bool], readers: int, size: int,
) -> Generator[list[Row], None, None]:  # fmt: skip
    """The rows of the files, in batches of `size`; of contents that are new, each once."""
    from pixweave.loading import read_all

    with closing(read_all(files, look, is_known, readers, 4 * size)) as reading:
        while batch := list(islice(reading, size)):
            yield _encoded(batch, encoder)


def _encoded(batch: list[tuple[Found | Fault, Picture | Fault]], encoder: Encoder) -> list[Row]:
    import numpy as np

    fresh: dict[bytes, Picture] = {}
    for _, got in batch:
        if not isinstance(got, Fault) and got.pixels is not None:
            fresh.setdefault(got.digest, got)
    vectors: dict[bytes, Array] = {}
    if fresh:
        squares = [got.pixels for got in fresh.values() if got.pixels is not None]
        made = encoder.encode_pictures(np.concatenate(squares))
        ends = np.cumsum([len(square) for square in squares])[:-1]
        vectors = dict(zip(fresh, np.split(made, ends), strict=True))
    return [
        (found, got, None if isinstance(got, Fault) else vectors.pop(got.digest, None))
        for found, got in batch
    ]


def write_row(db: sqlite3.Connection, store: Store, model: int, row: Row) -> set[int]:
    """Bring a row in, within a transaction; gives the id of the file.

    None, where its content was known when it was read, and was dropped by another process since:
    the file is then left as it is, for the next time.
    """
    import numpy as np

    found, got, vectors = row
    content = reason = None
    if isinstance(got, Fault):
        reason = got.reason
    else:
        if got.format:
            db.execute(
                "INSERT OR IGNORE INTO contents(digest, width, height, format, taken) "
                "VALUES(?,?,?,?,?)",
                (got.digest, got.width, got.height, got.format, got.taken),
            )
        there = db.execute("SELECT id FROM contents WHERE digest = ?", (got.digest,)).fetchone()
        if there is None:
            return set()
        content = there[0]
        for frame, vector in zip(got.frames, () if vectors is None else vectors, strict=False):
            db.execute(
                "INSERT OR IGNORE INTO vectors(model, content, frame, vector) VALUES(?,?,?,?)",
                (model, content, frame, vector.astype(np.float16).tobytes()),
            )
    size, mtime = (found.size, found.mtime_ns) if isinstance(found, Found) else (-1, 0)
    (id_,) = db.execute(
        "INSERT INTO files(path, size, mtime_ns, content, reason) "
        "VALUES(CAST(? AS TEXT),?,?,?,?) ON CONFLICT(path) DO UPDATE SET size=excluded.size, "
        "mtime_ns=excluded.mtime_ns, content=excluded.content, reason=excluded.reason "
        "RETURNING id",
        (store.kept(got.path), size, mtime, content, reason),
    ).fetchone()
    return {id_}
