"""Bring an index up to date: what is new is encoded, what moved is not, what is gone goes.

A file whose size and time of change are as before is not opened. One that changed is read and its
bytes are digested: only a content that is not known yet is decoded and encoded. Finished batches
are committed every few seconds, and whenever the work stops.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from pixweave.pictures import Fault, Found, Place, find_pictures
from pixweave.search.store import Model

if TYPE_CHECKING:
    import numpy as np

    from pixweave.encoder import Encoder
    from pixweave.pictures import Picture
    from pixweave.search.store import Store

    Array = np.ndarray[Any, Any]

COMMIT_EVERY = 2.0
"""Seconds after which finished work is committed."""

LOOK_UP = 500
"""How many paths are looked up in the index at a time."""


@dataclass(frozen=True)
class Wish:
    """What to index and how.

    `inputs`, `hidden` and `exclude` are those of `find_pictures`; `tags` are given to every picture
    found. `retry` reads again what was broken, `rehash` what seems unchanged; `purge` drops files
    even where a folder has become empty altogether, as an unmounted disk would have.
    """

    inputs: Sequence[str | os.PathLike[str]]
    hidden: bool = False
    exclude: Sequence[str] = ()
    tags: Sequence[str] = ()
    background: tuple[int, int, int] = (255, 255, 255)
    frames: int = 1
    batch: int = 0
    workers: int = 0
    retry: bool = False
    rehash: bool = False
    purge: bool = False


@dataclass
class Tally:
    """How far it is: numbers of files, `committed` those that are safe on the disk.

    `encoded` counts files whose content went through the perceptor, `reused` those whose content
    was known (copies, moved files), `unchanged` those that were not opened.
    """

    seen: int = 0
    encoded: int = 0
    reused: int = 0
    unchanged: int = 0
    broken: int = 0
    removed: int = 0
    committed: int = 0
    others: int = 0
    seconds: float = 0.0
    stopped: bool = False
    faults: list[Fault] = field(default_factory=list)
    """What was found broken since the last report; `already` broken files are not repeated."""
    already: int = 0
    spared: list[str] = field(default_factory=list)
    """Folders that hold nothing any more and were left in the index for that."""

    @property
    def rate(self) -> float:
        """Files read and encoded per second."""
        return (self.encoded + self.reused) / self.seconds if self.seconds else 0.0


def update(
    store: Store, encoder: Encoder, wish: Wish, stop: Callable[[], bool] = lambda: False
) -> Iterator[Tally]:
    """Do it, and tell how far it is after every commit; the last Tally is the whole.

    When `stop` turns true, the batch at hand is finished and committed and `stopped` is set; then
    nothing is taken for deleted.
    """
    yield from _Update(store, encoder, wish, stop).run()


class _Update:
    def __init__(
        self, store: Store, encoder: Encoder, wish: Wish, stop: Callable[[], bool]
    ) -> None:
        self.store, self.encoder, self.wish, self.stop = store, encoder, wish, stop
        self.place, self.tally = Place(), Tally()
        self.began = self.last = time.monotonic()
        self.model = self._model()
        self.seen: set[int] = set()
        self.paths: set[str] = set()
        self.pending: list[tuple[Found | Fault, Picture | Fault, Array | None]] = []
        self.touched: list[tuple[int, int, int]] = []
        self.lookup = store.another()
        self.lock = threading.Lock()

    def run(self) -> Iterator[Tally]:
        from pixweave.pictures import Look, read_all

        look = Look.of_key(self.model.look)
        size = self.wish.batch or (16 if look.size >= 128 else 64)
        reading = read_all(self._to_read(), look, self._is_known, self.wish.workers, 4 * size)
        try:
            for batch in _batches(reading, size):
                self._encode(batch)
                if self.stop() or time.monotonic() - self.last >= COMMIT_EVERY:
                    self._commit()
                    yield self._told()
                if self.stop():
                    break
        finally:  # also when the generator is closed, or a second Ctrl-C comes
            reading.close()
            if self.pending:
                self._commit()
            self.lookup.close()
        if self.stop():
            self.tally.stopped = True
        else:
            self._purge()
        self._tag()
        self.tally.others = self.place.others
        self._commit()
        yield self._told()

    def _model(self) -> Model:
        """The model of this encoder, without building it where it is known to the index."""
        from pixweave.pictures import Look
        from pixweave.recipe.model import plain

        for model in self.store.models():
            look = Look.of_key(model.look)
            same = (look.background, look.frames) == (self.wish.background, self.wish.frames)
            if same and model.identity == self.encoder.identity:
                return model
        part, encoder = self.encoder.part, self.encoder
        look = encoder.look(self.wish.background, self.wish.frames)
        dim = encoder.encode_texts(["a"]).shape[1]
        body = json.dumps({"use": part.use, **plain(part.settings)})
        return self.store.model(encoder.identity, look.key, dim, body)

    def _to_read(self) -> Iterator[Found | Fault]:
        """The files that must be opened; the others are counted and noted on the way."""
        source = find_pictures(self.wish.inputs, self.wish.hidden, self.wish.exclude, self.place)
        while part := list(islice(source, LOOK_UP)):
            known = self.store.known([one.path for one in part], self.model.id)
            for one in part:
                if self.stop():
                    return
                self.tally.seen += 1
                self.paths.add(one.path)
                before = known.get(one.path)
                if before:
                    self.seen.add(before.id)
                if isinstance(one, Found) and before and not self.wish.rehash:
                    if (before.size, before.mtime_ns) == (one.size, one.mtime_ns):
                        if before.encoded:
                            self.tally.unchanged += 1
                            continue
                        if before.reason and not self.wish.retry:
                            self.tally.already += 1
                            continue
                elif isinstance(one, Fault) and before and before.reason == one.reason:
                    self.tally.already += 1
                    continue
                yield one

    def _is_known(self, digest: bytes) -> bool:
        """Whether the model has vectors of that content; asked by the reader's threads."""
        with self.lock:
            return bool(
                self.lookup.execute(
                    "SELECT EXISTS(SELECT 1 FROM contents c JOIN vectors v ON v.content = c.id "
                    "WHERE c.digest = ? AND v.model = ?)",
                    (digest, self.model.id),
                ).fetchone()[0]
            )

    def _encode(self, batch: list[tuple[Found | Fault, Picture | Fault]]) -> None:
        """Vectors of the contents that are new, each of them once."""
        import numpy as np

        fresh: dict[bytes, Picture] = {}
        for _, got in batch:
            if not isinstance(got, Fault) and got.pixels is not None:
                fresh.setdefault(got.digest, got)
        vectors: dict[bytes, Array] = {}
        if fresh:
            squares = [got.pixels for got in fresh.values() if got.pixels is not None]
            made = self.encoder.encode_pictures(np.concatenate(squares))
            ends = np.cumsum([len(square) for square in squares])[:-1]
            vectors = dict(zip(fresh, np.split(made, ends), strict=True))
        for found, got in batch:
            mine = None if isinstance(got, Fault) else vectors.pop(got.digest, None)
            self.pending.append((found, got, mine))
            if isinstance(got, Fault):
                self.tally.broken += 1
                self.tally.faults.append(got)
            elif mine is not None:
                self.tally.encoded += 1
            else:
                self.tally.reused += 1

    def _commit(self) -> None:
        """Write what is pending, in one transaction."""
        if self.pending:
            with self.store.writing() as db:
                for found, got, vectors in self.pending:
                    self._write(db, found, got, vectors)
            self.tally.committed += len(self.pending)
            self.pending.clear()
        self.last = time.monotonic()
        self.tally.seconds = self.last - self.began

    def _told(self) -> Tally:
        """How far it is; faults that were told before are told no more."""
        told = replace(self.tally)
        self.tally.faults = []
        return told

    def _write(
        self, db: sqlite3.Connection, found: Found | Fault, got: Picture | Fault,
        vectors: Array | None,
    ) -> None:  # fmt: skip
        import numpy as np

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
            row = db.execute("SELECT id FROM contents WHERE digest = ?", (got.digest,)).fetchone()
            if row is None:  # purged by another process since it was read: next time, then
                return
            content = row[0]
            for frame, vector in zip(got.frames, () if vectors is None else vectors, strict=False):
                db.execute(
                    "INSERT OR IGNORE INTO vectors(model, content, frame, vector) VALUES(?,?,?,?)",
                    (self.model.id, content, frame, vector.astype(np.float16).tobytes()),
                )
        size, mtime = (found.size, found.mtime_ns) if isinstance(found, Found) else (-1, 0)
        (id_,) = db.execute(
            "INSERT INTO files(path, size, mtime_ns, content, reason) "
            "VALUES(CAST(? AS TEXT),?,?,?,?) ON CONFLICT(path) DO UPDATE SET size=excluded.size, "
            "mtime_ns=excluded.mtime_ns, content=excluded.content, reason=excluded.reason "
            "RETURNING id",
            (self.store.kept(got.path), size, mtime, content, reason),
        ).fetchone()
        self.seen.add(id_)

    def _purge(self) -> None:
        """Drop the files that are no longer where they were, and contents that nobody has."""
        gone: list[int] = []
        for root in dict.fromkeys([*self.place.roots, *self.place.files]):
            kept = list(self.store.under(root))
            lost = [id_ for id_, path in kept if id_ not in self.seen and self._is_gone(path)]
            if lost and len(lost) == len(kept) and root in self.place.roots and not self.wish.purge:
                self.tally.spared.append(root)
                continue
            gone += lost
        self._drop(gone)

    def _is_gone(self, path: str) -> bool:
        return path not in self.paths and not any(
            path.startswith(os.path.join(folder, "")) for folder in self.place.unread
        )

    def _drop(self, gone: Iterable[int]) -> None:
        ids = [(id_,) for id_ in gone]
        self._commit()
        with self.store.writing() as db:
            db.executemany("DELETE FROM files WHERE id = ?", ids)
            db.execute(
                "DELETE FROM contents WHERE NOT EXISTS"
                "(SELECT 1 FROM files WHERE files.content = contents.id)"
            )
        self.tally.removed += len(ids)

    def _tag(self) -> None:
        if not self.wish.tags:
            return
        self._commit()
        rows = [(id_, tag) for id_ in self.seen for tag in self.wish.tags]
        with self.store.writing() as db:
            db.executemany(
                "INSERT OR IGNORE INTO tags(file, tag) SELECT id, ?2 FROM files WHERE id = ?1", rows
            )


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch
