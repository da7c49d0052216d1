"""Bring an index up to date: what is new is encoded, what moved is not, what is gone goes.

A file whose size and time of change are as before is not opened. One that changed is read and its
bytes are digested: only a content that is not known yet is decoded and encoded. Finished batches
are committed every few seconds, and whenever the work stops. With an executor, the files are cut
into shards that its workers do, see `pixweave.search.shards`.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from pixweave.errors import RunError
from pixweave.loading import Fault, Found, Place, find_pictures
from pixweave.search.index_rows import encode_rows, write_row
from pixweave.search.index_store import Model
from pixweave.search.options import Tally, Wish
from pixweave.search.shards import ENCODE, Ledger, Record, name_of, unpack
from pixweave.workers.tasks import Unit

if TYPE_CHECKING:
    from pixweave.embedding.embedder import Encoder
    from pixweave.loading import Look
    from pixweave.plugins import Plugins
    from pixweave.protocols import Executor
    from pixweave.search.index_rows import Row
    from pixweave.search.index_store import Store

COMMIT_EVERY = 2.0
"""Seconds after which finished work is committed."""

LOOK_UP = 500
"""How many paths are looked up in the index at a time."""

MOST_KNOWN = 20_000
"""Digests of known contents that go along with a shard; where more have its sizes, the rest of the
copies are encoded again, to no harm."""


@dataclass(frozen=True)
class Crew:
    """Who works: an executor, and the plugins that its workers are to have."""

    executor: Executor
    plugins: Plugins


def update(
    store: Store, encoder: Encoder, wish: Wish, stop: Callable[[], bool] = lambda: False,
    crew: Crew | None = None,
) -> Iterator[Tally]:  # fmt: skip
    """Do it, and tell how far it is after every commit; the last Tally is the whole.

    When `stop` turns true, the batch at hand is finished and committed, or with a crew every shard
    that is finished is, and `stopped` is set; then nothing is taken for deleted. RunError at the
    end, where a shard of the crew failed; all others are committed then.
    """
    yield from _Update(store, encoder, wish, stop, crew).run()


class _Update:
    def __init__(
        self, store: Store, encoder: Encoder, wish: Wish, stop: Callable[[], bool],
        crew: Crew | None,
    ) -> None:  # fmt: skip
        self.store, self.encoder, self.wish, self.stop = store, encoder, wish, stop
        self.crew, self.ledger = crew, Ledger(store.folder / "ledger")
        self.place, self.tally = Place(), Tally()
        self.began = self.last = time.monotonic()
        self.model = self._model()
        self.seen: set[int] = set()
        self.paths: set[str] = set()
        self.pending: list[tuple[int, Row]] = []
        self.finished: list[str] = []
        self.failed: list[str] = []
        self.lookup = store.another()
        self.lock = threading.Lock()

    def run(self) -> Iterator[Tally]:
        from pixweave.loading import Look

        look = Look.of_key(self.model.look)
        size = self.wish.batch or (16 if look.size >= 128 else 64)
        self._merge()
        work = self._shared(look, size) if self.crew else self._alone(look, size)
        try:
            for _ in work:
                if self.stop() or time.monotonic() - self.last >= COMMIT_EVERY:
                    self._commit()
                    yield self._told()
                if self.stop():
                    break
        finally:  # also when the generator is closed, or a second Ctrl-C comes
            work.close()
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
        if self.failed:
            failed = f"{len(self.failed)} shards" if len(self.failed) > 1 else "a shard"
            raise RunError(
                f"{failed} failed: {'; '.join(dict.fromkeys(self.failed))}. "
                "All others are kept; the same command tries again"
            )

    def _alone(self, look: Look, size: int) -> Generator[None, None, None]:
        """Do the work in this process; stops for a moment after every batch."""
        from pixweave.loading.prefetch import cores

        count = self.wish.workers or cores()
        rows = encode_rows(self._to_read(), look, self.encoder, self._is_known, count, size)
        with closing(rows):
            for batch in rows:
                self._take(self.model.id, batch)
                if self.tally.encoded and not self.tally.by:
                    threads = f"{count} reading thread{'' if count == 1 else 's'}"
                    self.tally.by = f"{self.encoder.info}; {threads}"
                yield

    def _shared(self, look: Look, size: int) -> Generator[None, None, None]:
        """Let the crew do it; stops for a moment after every shard that came in."""
        assert self.crew is not None
        executor = self.crew.executor
        with closing(executor.run(self._units(size), self.stop)) as work:
            for done in work:
                if done.fault:
                    self.failed.append(done.fault)
                    continue
                data, seer = done.value
                self.ledger.keep(done.unit.name, data)
                self._take_record(done.unit.name, unpack(data))
                if seer and not self.tally.by:
                    self.tally.by = f"{seer}; {executor.info}"
                yield

    def _units(self, size: int) -> Iterator[Unit]:
        """The shards that are to do; what is known to be faulty, or done, needs no worker."""
        assert self.crew is not None
        recipe = self.encoder.recipe
        seer = json.dumps({
            "plugins": self.crew.plugins.source(), "perceptor": json.loads(self.model.perceptor),
            "device": recipe.device, "precision": recipe.precision,
        })  # fmt: skip
        token = self.ledger.open()
        self.store.know_sizes()
        for files in _batches(self._found(), self.wish.shard or 4 * size):
            name = name_of(self.model, files)
            record = self.ledger.read(name)
            if record is not None:  # a worker of a run that was broken off has finished it since
                self._take_record(name, record)
                continue
            sizes = {file.size for file in files}
            known = self.store.digests_of_size(sizes, self.model.id, MOST_KNOWN)
            yield Unit(name, ENCODE, {
                "seer": seer, "model": self.model, "files": files, "known": known, "batch": size,
                "readers": self.wish.workers, "name": name, "token": token,
                "ledger": os.path.abspath(self.ledger.folder),
            })  # fmt: skip

    def _found(self) -> Iterator[Found]:
        for one in self._to_read():
            if isinstance(one, Fault):
                self._take(self.model.id, [(one, one, None)])
            else:
                yield one

    def _take_record(self, name: str, record: Record) -> None:
        self.finished.append(name)
        self._take(self.model.id, record.rows)

    def _merge(self) -> None:
        """Bring in what is in the ledger, of whatever model; files that changed since are not."""
        for name in self.ledger.names():
            record = self.ledger.read(name)
            if record is None:
                continue
            model = self.store.model(record.identity, record.look, record.dim, record.perceptor)
            rows = [row for row in record.rows if _is_as_it_was(row[0])]
            with self.store.writing() as db:
                for row in rows:
                    write_row(db, self.store, model.id, row)
            self.ledger.drop(name)
            self.tally.merged += len(rows)

    def _model(self) -> Model:
        """The model of this encoder, without building it where it is known to the index."""
        from pixweave.loading import Look
        from pixweave.recipe.recipe import plain

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

    def _take(self, model: int, rows: Iterable[Row]) -> None:
        """Count the rows, and let them wait for the next commit."""
        for row in rows:
            _, got, vectors = row
            self.pending.append((model, row))
            if isinstance(got, Fault):
                self.tally.broken += 1
                self.tally.faults.append(got)
            elif vectors is not None:
                self.tally.encoded += 1
            else:
                self.tally.reused += 1

    def _commit(self) -> None:
        """Write what is pending, in one transaction; its shards leave the ledger then."""
        if self.pending:
            with self.store.writing() as db:
                for model, row in self.pending:
                    self.seen |= write_row(db, self.store, model, row)
            self.tally.committed += len(self.pending)
            self.pending.clear()
        for name in self.finished:
            self.ledger.drop(name)
        self.finished.clear()
        self.last = time.monotonic()
        self.tally.seconds = self.last - self.began

    def _told(self) -> Tally:
        """How far it is; faults that were told before are told no more."""
        told = replace(self.tally)
        self.tally.faults = []
        return told

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


def _is_as_it_was(file: Found | Fault) -> bool:
    try:
        now = os.stat(file.path)
    except OSError:
        return False
    return isinstance(file, Found) and (file.size, file.mtime_ns) == (now.st_size, now.st_mtime_ns)


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch
