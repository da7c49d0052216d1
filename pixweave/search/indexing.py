"""Update an index: encode new images, reuse vectors of moved files and copies, drop deleted files.

Files with unchanged size and modification time are not opened. Changed files are read and hashed:
only unknown contents are decoded and encoded. Finished batches are committed every few seconds,
and whenever the update stops. With an executor, the files are divided into shards for its workers,
see `pixweave.search.shards`.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any

from pixweave.errors import RunError
from pixweave.loading import ImageFile, ScanReport, UnreadableImage, find_images
from pixweave.search.executor_run import run_tasks
from pixweave.search.index_rows import encode_rows
from pixweave.search.index_store import Model
from pixweave.search.options import IndexOptions, IndexProgress
from pixweave.search.shards import ENCODE, Journal, ShardRecord, shard_name, unpack
from pixweave.workers.tasks import Task, available_cores

if TYPE_CHECKING:
    from pixweave.embedding.embedder import Embedder
    from pixweave.loading import Preprocessing
    from pixweave.plugins import Plugins
    from pixweave.protocols import Executor
    from pixweave.search.index_rows import Row
    from pixweave.search.index_store import Store

COMMIT_EVERY = 2.0
"""Seconds after which finished work is committed."""

LOOK_UP = 500
"""How many paths are looked up in the index at a time."""

MOST_KNOWN = 20_000
"""Maximum number of digests of known contents sent with a shard; if more have matching sizes, the
remaining copies are encoded again, with the same result."""


@dataclass(frozen=True)
class WorkerPool:
    """An executor, and the plugins that its workers need."""

    executor: Executor
    plugins: Plugins
    name: str
    """The executor's name in errors."""


def update(
    store: Store,
    embedder: Embedder,
    options: IndexOptions,
    stop: Callable[[], bool] = lambda: False,
    pool: WorkerPool | None = None,
) -> Iterator[IndexProgress]:
    """Update the index and yield the progress after every commit; the last one is the total.

    When `stop` returns true, the current batch (with a pool, every finished shard) is committed,
    `stopped` is set, and no file is considered deleted. RunError at the end if a shard of the pool
    failed; all others are committed by then.
    """
    yield from _Update(store, embedder, options, stop, pool).run()


class _Update:
    def __init__(
        self,
        store: Store,
        embedder: Embedder,
        options: IndexOptions,
        stop: Callable[[], bool],
        pool: WorkerPool | None,
    ) -> None:
        self.store, self.embedder, self.options, self.stop = store, embedder, options, stop
        self.pool, self.journal = pool, Journal(store.folder / "ledger")
        self.report, self.progress = ScanReport(), IndexProgress()
        self.began = self.last = time.monotonic()
        self.model = self._model()
        self.seen: set[int] = set()
        self.paths: set[str] = set()
        self.pending: list[tuple[int, Row]] = []
        self.finished: list[str] = []
        self.failed: list[str] = []
        self.lookup = store.lookup()

    def run(self) -> Iterator[IndexProgress]:
        from pixweave.loading import Preprocessing

        preprocessing = Preprocessing.of_key(self.model.preprocessing)
        size = self.options.batch or (16 if preprocessing.size >= 128 else 64)
        self._merge()
        if self.pool:
            work = self._run_pool(preprocessing, size)
        else:
            work = self._run_here(preprocessing, size)
        try:
            for _ in work:
                if self.stop() or time.monotonic() - self.last >= COMMIT_EVERY:
                    self._commit()
                    yield self._snapshot()
                if self.stop():
                    break
        finally:  # also when the generator is closed, or on a second Ctrl-C
            work.close()
            if self.pending:
                self._commit()
            self.lookup.close()
        if self.stop():
            self.progress.stopped = True
        else:
            self._purge()
        self._tag()
        self.progress.others = self.report.others
        self._commit()
        yield self._snapshot()
        if self.failed:
            failed = f"{len(self.failed)} shards" if len(self.failed) > 1 else "a shard"
            raise RunError(
                f"{failed} failed: {'; '.join(dict.fromkeys(self.failed))}. "
                "All others are kept; run the same command to try again"
            )

    def _run_here(self, preprocessing: Preprocessing, size: int) -> Generator[None, None, None]:
        """Process all files in this process; yield after every batch."""
        count = self.options.workers or available_cores()
        rows = encode_rows(
            self._to_read(), preprocessing, self.embedder, self._is_known, count, size
        )
        with closing(rows):
            for batch in rows:
                self._add_rows(self.model.id, batch)
                if self.progress.encoded and not self.progress.by:
                    threads = f"{count} reading thread{'' if count == 1 else 's'}"
                    self.progress.by = f"{self.embedder.info}; {threads}"
                yield

    def _run_pool(self, preprocessing: Preprocessing, size: int) -> Generator[None, None, None]:
        """Process all files in the pool; yield after every finished shard."""
        assert self.pool is not None
        executor = self.pool.executor
        with closing(run_tasks(self.pool.name, executor, self._tasks(size), self.stop)) as work:
            for done in work:
                if done.error:
                    self.failed.append(done.error)
                    continue
                data, info = done.value
                self.journal.keep(done.task.name, data)
                self._add_record(done.task.name, unpack(data))
                if info and not self.progress.by:
                    self.progress.by = f"{info}; {executor.info}"
                yield

    def _tasks(self, size: int) -> Iterator[Task]:
        """The remaining shards; unreadable files and finished shards need no worker."""
        assert self.pool is not None
        recipe = self.embedder.recipe
        embedder = json.dumps(
            {
                "plugins": self.pool.plugins.source(),
                "perceptor": json.loads(self.model.perceptor),
                "device": recipe.device,
                "precision": recipe.precision,
            }
        )
        token = self.journal.open()
        self.store.know_sizes()
        for files in _batches(self._found(), self.options.shard or 4 * size):
            name = shard_name(self.model, files)
            record = self.journal.read(name)
            if record is not None:  # finished since by a worker of an interrupted run
                self._add_record(name, record)
                continue
            sizes = {file.size for file in files}
            known = self.store.digests_of_size(sizes, self.model.id, MOST_KNOWN)
            yield Task(
                name,
                ENCODE,
                {
                    "embedder": embedder,
                    "model": self.model,
                    "files": files,
                    "known": known,
                    "batch": size,
                    "readers": self.options.workers,
                    "name": name,
                    "token": token,
                    "journal": os.path.abspath(self.journal.folder),
                },
            )

    def _found(self) -> Iterator[ImageFile]:
        for file in self._to_read():
            if isinstance(file, UnreadableImage):
                self._add_rows(self.model.id, [(file, file, None)])
            else:
                yield file

    def _add_record(self, name: str, record: ShardRecord) -> None:
        self.finished.append(name)
        self._add_rows(self.model.id, record.rows)

    def _merge(self) -> None:
        """Write the shards of the journal, of any model, except files that changed since."""
        for name in self.journal.names():
            record = self.journal.read(name)
            if record is None:
                continue
            model = self.store.model(
                record.identity, record.preprocessing, record.dim, record.perceptor
            )
            rows = [row for row in record.rows if _is_unchanged(row[0])]
            with self.store.writing():
                for row in rows:
                    self.store.write_row(model.id, row)
            self.journal.drop(name)
            self.progress.merged += len(rows)

    def _model(self) -> Model:
        """The model of this embedder; the perceptor is built only if the model is new."""
        from pixweave.loading import Preprocessing
        from pixweave.recipe.recipe import plain

        for model in self.store.models():
            preprocessing = Preprocessing.of_key(model.preprocessing)
            same = (preprocessing.background, preprocessing.frames) == (
                self.options.background,
                self.options.frames,
            )
            if same and model.identity == self.embedder.identity:
                return model
        part, embedder = self.embedder.part, self.embedder
        preprocessing = embedder.preprocessing(self.options.background, self.options.frames)
        dim = embedder.encode_texts(["a"]).shape[1]
        body = json.dumps({"use": part.use, **plain(part.settings)})
        return self.store.model(embedder.identity, preprocessing.key, dim, body)

    def _to_read(self) -> Iterator[ImageFile | UnreadableImage]:
        """The files that must be opened; the others are only counted."""
        source = find_images(
            self.options.inputs, self.options.hidden, self.options.exclude, self.report
        )
        while part := list(islice(source, LOOK_UP)):
            known = self.store.known([file.path for file in part], self.model.id)
            for file in part:
                if self.stop():
                    return
                self.progress.seen += 1
                self.paths.add(file.path)
                before = known.get(file.path)
                if before:
                    self.seen.add(before.id)
                if isinstance(file, ImageFile) and before and not self.options.rehash:
                    if (before.size, before.mtime_ns) == (file.size, file.mtime_ns):
                        if before.encoded:
                            self.progress.unchanged += 1
                            continue
                        if before.reason and not self.options.retry:
                            self.progress.already += 1
                            continue
                elif isinstance(file, UnreadableImage) and before and before.reason == file.reason:
                    self.progress.already += 1
                    continue
                yield file

    def _is_known(self, digest: bytes) -> bool:
        """Whether the model has vectors of that content; called in the reader threads."""
        return self.lookup.has_vectors(digest, self.model.id)

    def _add_rows(self, model: int, rows: Iterable[Row]) -> None:
        """Count the rows and queue them for the next commit."""
        for row in rows:
            _, image, vectors = row
            self.pending.append((model, row))
            if isinstance(image, UnreadableImage):
                self.progress.broken += 1
                self.progress.unreadable.append(image)
            elif vectors is not None:
                self.progress.encoded += 1
            else:
                self.progress.reused += 1

    def _commit(self) -> None:
        """Write the pending rows in one transaction, then drop their shards from the journal."""
        if self.pending:
            with self.store.writing():
                for model, row in self.pending:
                    self.seen |= self.store.write_row(model, row)
            self.progress.committed += len(self.pending)
            self.pending.clear()
        for name in self.finished:
            self.journal.drop(name)
        self.finished.clear()
        self.last = time.monotonic()
        self.progress.seconds = self.last - self.began

    def _snapshot(self) -> IndexProgress:
        """A copy of the progress; each unreadable file is reported only once."""
        report = replace(self.progress)
        self.progress.unreadable = []
        return report

    def _purge(self) -> None:
        """Delete files that no longer exist, and contents without files."""
        gone: list[int] = []
        for root in dict.fromkeys([*self.report.roots, *self.report.files]):
            indexed = list(self.store.under(root))
            missing = [id_ for id_, path in indexed if id_ not in self.seen and self._is_gone(path)]
            if (
                missing
                and len(missing) == len(indexed)
                and root in self.report.roots
                and not self.options.purge
            ):
                self.progress.spared.append(root)
                continue
            gone += missing
        self._drop(gone)

    def _is_gone(self, path: str) -> bool:
        return path not in self.paths and not any(
            path.startswith(os.path.join(folder, "")) for folder in self.report.unread
        )

    def _drop(self, gone: Iterable[int]) -> None:
        self._commit()
        self.progress.removed += self.store.delete_files(gone)

    def _tag(self) -> None:
        if not self.options.tags:
            return
        self._commit()
        self.store.tag_files(self.seen, self.options.tags)


def _is_unchanged(file: ImageFile | UnreadableImage) -> bool:
    try:
        now = os.stat(file.path)
    except OSError:
        return False
    return isinstance(file, ImageFile) and (file.size, file.mtime_ns) == (
        now.st_size,
        now.st_mtime_ns,
    )


def _batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    source = iter(items)
    while batch := list(islice(source, size)):
        yield batch
