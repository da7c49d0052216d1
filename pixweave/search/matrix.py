"""The matrix of a model: all its vectors in one memory-mapped file, derived from the database.

    NAME.json       count, dim and generation of the rows that are valid
    NAME-G.f32      float32 [count, dim], append-only; rows of deleted vectors stay until a rebuild
    NAME-G.ids      int64 [count], the id of each row's vector, ascending

Only the rows counted in the JSON file are used, and it is replaced atomically after they are on
disk: a process that dies while appending does no harm. If a file is missing or inconsistent, the
matrix is rebuilt from the database automatically.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pixweave.media.atomic_write import whole

if TYPE_CHECKING:
    from pixweave.search.index_store import Model, Store

    Array = np.ndarray[Any, Any]

MOST_DEAD = 0.25
"""Fraction of rows of deleted vectors above which the matrix is rebuilt."""

CHUNK = 4096
"""Rows read and written at a time."""


@dataclass(frozen=True)
class Matrix:
    """The vectors of one model: `vectors` float32 `[N, D]`, `ids` int64 `[N]`, ascending.

    Some rows may belong to deleted vectors. `generation` changes when the matrix is rebuilt, not
    when rows are appended. Searchers may store derived files in `folder`, with names that begin
    with `name`; None: the matrix is only in memory.
    """

    vectors: Array
    ids: Array
    generation: str
    folder: Path | None
    name: str

    def rows_of(self, ids: Array) -> Array:
        """The rows of these vector ids; unknown ids are left out."""
        rows = np.searchsorted(self.ids, ids)
        rows = rows[rows < len(self.ids)]
        return rows[np.isin(self.ids[rows], ids)] if len(rows) else rows


def load_matrix(store: Store, model: Model) -> Matrix:
    """The up-to-date matrix of a model; in memory if no file can be written."""
    name = f"model{model.id}"
    if not store.read_only:
        with contextlib.suppress(OSError):  # a rebuild may take its files away just now
            if (found := _File(store, model, name).current()) is not None:
                return found
        from filelock import FileLock

        with contextlib.suppress(OSError), FileLock(store.folder / f"{name}.lock"):
            return _File(store, model, name).updated()
    ids, vectors = _read(store, model, 0)
    return Matrix(vectors, ids, "memory", None, name)


class _File:
    def __init__(self, store: Store, model: Model, name: str) -> None:
        self.store, self.model, self.name = store, model, name
        self.head = store.folder / f"{name}.json"

    def current(self) -> Matrix | None:
        """The matrix as it lies there, if nothing is to be written; needs no lock."""
        found = self._header()
        if found is None:
            return None
        made = self._mapped(found[1], found[0])
        last = int(made.ids[-1]) if found[0] else 0
        newer = next(self.store.rows_after(self.model.id, last), None)
        return None if newer is not None or self._too_many_dead(found[0]) else made

    def _too_many_dead(self, total: int) -> bool:
        return total - self.model.count > max(1000, MOST_DEAD * total)

    def updated(self) -> Matrix:
        """The matrix after the newer rows were written behind it; only under the lock."""
        found = self._header()
        if found is None:
            return self._rebuilt()
        count, generation = found
        ids = self._paths(generation)[0]
        last = int(np.memmap(ids, np.int64, "r", shape=(count,))[-1]) if count else 0
        added = self._append(generation, count, last)
        total = count + added
        if self._too_many_dead(total):
            return self._rebuilt()
        return self._mapped(generation, total)

    def _header(self) -> tuple[int, str] | None:
        """Count and generation; None if they are missing or inconsistent with the files."""
        try:
            head = json.loads(self.head.read_text("utf-8"))
            count, generation = int(head["count"]), str(head["generation"])
            ids, vectors = self._paths(generation)
            fits = (
                head["dim"] == self.model.dim
                and head["identity"] == self.model.identity
                and os.path.getsize(ids) >= 8 * count
                and os.path.getsize(vectors) >= 4 * count * self.model.dim
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return (count, generation) if fits else None

    def _paths(self, generation: str) -> tuple[Path, Path]:
        stem = f"{self.name}-{generation}"
        return self.store.folder / f"{stem}.ids", self.store.folder / f"{stem}.f32"

    def _append(self, generation: str, count: int, last: int) -> int:
        """Append newer vectors after the first `count` rows; return how many."""
        added = 0
        paths = self._paths(generation)
        chunks = _chunks(self.store, self.model, last)
        first = next(chunks, None)
        if first is None:
            return 0
        with paths[0].open("r+b") as ids, paths[1].open("r+b") as vectors:
            ids.seek(8 * count)
            vectors.seek(4 * count * self.model.dim)
            for numbers, rows in (first, *chunks):
                ids.write(numbers.tobytes())
                vectors.write(rows.tobytes())
                added += len(numbers)
            for file in (ids, vectors):
                file.flush()
                os.fsync(file.fileno())
        self._write_head(generation, count + added)
        return added

    def _rebuilt(self) -> Matrix:
        generation = os.urandom(4).hex()
        for path in self._paths(generation):
            path.touch()
        self._write_head(generation, 0)
        count = self._append(generation, 0, 0)
        for old in self.store.folder.glob(f"{self.name}-*"):
            if generation not in old.name:
                with contextlib.suppress(OSError):  # on Windows, files mapped elsewhere stay
                    old.unlink()
        return self._mapped(generation, count)

    def _write_head(self, generation: str, count: int) -> None:
        head = {
            "count": count,
            "dim": self.model.dim,
            "generation": generation,
            "identity": self.model.identity,
        }
        with whole(self.head) as part:
            part.write_text(json.dumps(head), "utf-8")

    def _mapped(self, generation: str, count: int) -> Matrix:
        dim, (ids, vectors) = self.model.dim, self._paths(generation)
        if not count:
            empty = np.empty((0, dim), np.float32)
            return Matrix(empty, np.empty(0, np.int64), generation, self.store.folder, self.name)
        return Matrix(
            np.asarray(np.memmap(vectors, np.float32, "r", shape=(count, dim))),
            np.asarray(np.memmap(ids, np.int64, "r", shape=(count,))),
            generation,
            self.store.folder,
            self.name,
        )


def _read(store: Store, model: Model, last: int) -> tuple[Array, Array]:
    found = list(_chunks(store, model, last))
    ids = [np.empty(0, np.int64), *(numbers for numbers, _ in found)]
    rows = [np.empty((0, model.dim), np.float32), *(vectors for _, vectors in found)]
    return np.concatenate(ids), np.concatenate(rows)


def _chunks(store: Store, model: Model, last: int) -> Iterator[tuple[Array, Array]]:
    """Ids and float32 rows of the vectors with ids above `last`, CHUNK at a time."""
    source = store.rows_after(model.id, last)
    while True:
        rows = [row for _, row in zip(range(CHUNK), source, strict=False)]
        if not rows:
            return
        data = np.frombuffer(b"".join(vector for _, vector in rows), np.float16)
        ids = np.fromiter((id_ for id_, _ in rows), np.int64, len(rows))
        yield ids, data.reshape(len(rows), model.dim).astype(np.float32)
