"""The truth of an index: one SQLite file in WAL mode. Matrices beside it are derived from it.

    files      a path, its size and time of change, and its content, or the reason why it has none
    contents   a digest of bytes, and what the picture in them is like; copies share one
    vectors    float16, one for each frame looked at, by content and model; ids are never used twice
    models     identity of a perceptor and way of reading: vectors of two models never meet
    tags       words that the user gave to files

Several processes may read and write at once. A commit is on disk when a process dies; the last
seconds before a power cut may be lost, the file stays sound (synchronous=NORMAL).
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixweave.errors import MissingError, RunError
from pixweave.loading import ImageFile, UnreadableImage

if TYPE_CHECKING:
    import numpy as np

    from pixweave.search.index_rows import Row

    Array = np.ndarray[Any, Any]

NAME = "index.sqlite"
VERSION = 1
PATIENCE = 60.0
"""Seconds to wait for another writer, which holds the lock for milliseconds at a time."""

SCHEMA = """
CREATE TABLE models(
  id INTEGER PRIMARY KEY, identity TEXT NOT NULL, look TEXT NOT NULL, dim INTEGER NOT NULL,
  perceptor TEXT NOT NULL, count INTEGER NOT NULL DEFAULT 0, UNIQUE(identity, look));
CREATE TABLE contents(
  id INTEGER PRIMARY KEY AUTOINCREMENT, digest BLOB NOT NULL UNIQUE, width INTEGER NOT NULL,
  height INTEGER NOT NULL, format TEXT NOT NULL, taken REAL);
CREATE TABLE files(
  id INTEGER PRIMARY KEY AUTOINCREMENT, path TEXT NOT NULL UNIQUE, size INTEGER NOT NULL,
  mtime_ns INTEGER NOT NULL, content INTEGER REFERENCES contents(id), reason TEXT,
  CHECK((content IS NULL) <> (reason IS NULL)));
CREATE INDEX files_content ON files(content);
CREATE TABLE vectors(
  id INTEGER PRIMARY KEY AUTOINCREMENT, model INTEGER NOT NULL REFERENCES models(id),
  content INTEGER NOT NULL REFERENCES contents(id) ON DELETE CASCADE, frame INTEGER NOT NULL,
  vector BLOB NOT NULL, UNIQUE(model, content, frame));
CREATE INDEX vectors_content ON vectors(content);
CREATE TABLE tags(
  file INTEGER NOT NULL REFERENCES files(id) ON DELETE CASCADE, tag TEXT NOT NULL,
  PRIMARY KEY(tag, file)) WITHOUT ROWID;
CREATE INDEX tags_file ON tags(file);
CREATE TRIGGER one_more AFTER INSERT ON vectors BEGIN
  UPDATE models SET count = count + 1 WHERE id = new.model; END;
CREATE TRIGGER one_less AFTER DELETE ON vectors BEGIN
  UPDATE models SET count = count - 1 WHERE id = old.model; END;
"""


@dataclass(frozen=True)
class Model:
    """What made vectors: the identity of a perceptor and the way in which pictures were read."""

    id: int
    identity: str
    preprocessing: str
    dim: int
    perceptor: str
    """The perceptor as JSON, as a recipe would write it, for searches that name none."""
    count: int
    """How many vectors there are of it."""


@dataclass(frozen=True)
class Known:
    """What the index holds of a path."""

    id: int
    size: int
    mtime_ns: int
    content: int | None
    reason: str | None
    encoded: bool
    """Whether its content has vectors of the model that was asked about."""


class Store:
    """One index folder. Paths below the folder that it lies in are kept relative to that one.

    So an index beside the photographs may move with them. Made by `open_index_store`; close it.
    """

    def __init__(self, folder: Path, read_only: bool = False) -> None:
        self.folder = folder
        self.base = os.path.join(os.path.dirname(os.path.abspath(folder)), "")
        self.read_only = read_only
        self.db = self._connect()

    def _connect(self) -> sqlite3.Connection:
        path = self.folder / NAME
        # "immutable" would miss the changes of others; plain read-only needs the -shm file there
        uri = f"{path.absolute().as_uri()}?mode={'ro' if self.read_only else 'rwc'}"
        db = sqlite3.connect(
            uri, uri=True, timeout=PATIENCE, isolation_level=None, check_same_thread=False
        )
        db.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        try:
            db.execute("PRAGMA foreign_keys=ON")
            db.execute("PRAGMA synchronous=NORMAL")
        except sqlite3.Error:
            db.close()
            raise
        return db

    def lookup(self) -> VectorLookup:
        """A connection of its own, for other threads; close it."""
        return VectorLookup(self._connect())

    def close(self) -> None:
        """Let go of the file."""
        self.db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it, or nothing where an error passes."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield self.db
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def kept(self, path: str) -> bytes:
        """An absolute path as it is kept; bytes, since names need not be text."""
        return os.fsencode(path.removeprefix(self.base))

    def full(self, kept: str) -> str:
        """A kept path made absolute."""
        return os.path.join(self.base, kept)

    def models(self) -> list[Model]:
        """Every model that has been used with this index, in the order of first use."""
        rows = self.db.execute(
            "SELECT id, identity, look, dim, perceptor, count FROM models ORDER BY id"
        )
        return [Model(*row) for row in rows]

    def model(self, identity: str, preprocessing: str, dim: int, perceptor: str) -> Model:
        """The model of that identity and preprocessing, made if it is new."""
        with self.writing() as db:
            db.execute(
                "INSERT OR IGNORE INTO models(identity, look, dim, perceptor) VALUES(?,?,?,?)",
                (identity, preprocessing, dim, perceptor),
            )
        found = next(
            m for m in self.models() if (m.identity, m.preprocessing) == (identity, preprocessing)
        )
        if found.dim != dim:
            raise RunError(
                f"the index holds vectors of {found.dim} numbers under the identity '{identity}', "
                f"the perceptor now gives {dim}; use another index with --index"
            )
        return found

    def known(self, paths: Sequence[str], model: int) -> dict[str, Known]:
        """What is kept of these absolute paths; those that are new are left out."""
        found = {}
        for part in _parts(paths):
            marks = ",".join(["CAST(? AS TEXT)"] * len(part))
            rows = self.db.execute(
                "SELECT path, id, size, mtime_ns, content, reason, EXISTS(SELECT 1 FROM vectors v "
                "WHERE v.content = f.content AND v.model = ?) FROM files f "
                f"WHERE path IN ({marks})",
                [model, *map(self.kept, part)],
            )
            for path, id_, size, mtime, content, reason, encoded in rows:
                found[self.full(path)] = Known(id_, size, mtime, content, reason, bool(encoded))
        return found

    def know_sizes(self) -> None:
        """Make `digests_of_size` quick; once, for the whole life of the index."""
        self.db.execute("CREATE INDEX IF NOT EXISTS files_size ON files(size)")

    def digests_of_size(self, sizes: Iterable[int], model: int, most: int) -> list[bytes]:
        """Digests of contents with vectors of the model whose files have one of these sizes.

        A copy, or a file that was moved, is among them: `most` are given.
        """
        found: dict[bytes, None] = {}
        for part in _parts(list(sizes)):
            rows = self.db.execute(
                "SELECT DISTINCT c.digest FROM files f JOIN contents c ON c.id = f.content WHERE "
                f"f.size IN ({','.join('?' * len(part))}) AND EXISTS"
                "(SELECT 1 FROM vectors v WHERE v.content = c.id AND v.model = ?) LIMIT ?",
                [*part, model, most - len(found)],
            )
            found.update((digest, None) for (digest,) in rows)
        return list(found)

    def under(self, root: str) -> Iterator[tuple[int, str]]:
        """Id and absolute path of every file kept below an absolute folder, or of that file."""
        kept = self.kept(root)
        if os.path.join(root, "") == self.base:
            rows = self.db.execute("SELECT id, path FROM files WHERE substr(path, 1, 1) <> '/'")
        else:
            rows = self.db.execute(
                "SELECT id, path FROM files WHERE path = CAST(?1 AS TEXT) "
                "OR (path >= CAST(?2 AS TEXT) AND path < CAST(?3 AS TEXT))",
                (kept, kept.rstrip(b"/") + b"/", kept.rstrip(b"/") + b"0"),
            )
        for id_, path in rows:
            full = self.full(path)
            if full == root or full.startswith(os.path.join(root, "")):
                yield id_, full

    def readable(self) -> Iterator[str]:
        """Path of every file that gave a picture."""
        rows = self.db.execute("SELECT path FROM files WHERE content IS NOT NULL ORDER BY path")
        for (path,) in rows:
            yield self.full(path)

    def broken(self) -> Iterator[tuple[str, str]]:
        """Path and reason of every file that gave no picture."""
        rows = self.db.execute(
            "SELECT path, reason FROM files WHERE reason IS NOT NULL ORDER BY path"
        )
        for path, reason in rows:
            yield self.full(path), reason

    def counts(self) -> tuple[int, int]:
        """How many files are indexed, and how many are broken."""
        good, bad = self.db.execute("SELECT COUNT(content), COUNT(reason) FROM files").fetchone()
        return good, bad

    def rows_after(self, model: int, last: int) -> Iterator[tuple[int, bytes]]:
        """Id and float16 bytes of the model's vectors with ids above `last`, in their order."""
        yield from self.db.execute(
            "SELECT id, vector FROM vectors WHERE id > ? AND model = ? ORDER BY id", (last, model)
        )

    def write_row(self, model: int, row: Row) -> set[int]:
        """Bring a row in, within `writing()`; gives the id of the file.

        None, where its content was known when it was read, and another process dropped it since:
        the file is then left as it is, for the next time.
        """
        import numpy as np

        found, got, vectors = row
        content = reason = None
        if isinstance(got, UnreadableImage):
            reason = got.reason
        else:
            if got.format:
                self.db.execute(
                    "INSERT OR IGNORE INTO contents(digest, width, height, format, taken) "
                    "VALUES(?,?,?,?,?)",
                    (got.digest, got.width, got.height, got.format, got.taken),
                )
            there = self.db.execute(
                "SELECT id FROM contents WHERE digest = ?", (got.digest,)
            ).fetchone()
            if there is None:
                return set()
            content = there[0]
            for frame, vector in zip(got.frames, () if vectors is None else vectors, strict=False):
                self.db.execute(
                    "INSERT OR IGNORE INTO vectors(model, content, frame, vector) VALUES(?,?,?,?)",
                    (model, content, frame, vector.astype(np.float16).tobytes()),
                )
        size, mtime = (found.size, found.mtime_ns) if isinstance(found, ImageFile) else (-1, 0)
        (id_,) = self.db.execute(
            "INSERT INTO files(path, size, mtime_ns, content, reason) "
            "VALUES(CAST(? AS TEXT),?,?,?,?) ON CONFLICT(path) DO UPDATE SET size=excluded.size, "
            "mtime_ns=excluded.mtime_ns, content=excluded.content, reason=excluded.reason "
            "RETURNING id",
            (self.kept(got.path), size, mtime, content, reason),
        ).fetchone()
        return {id_}

    def delete_files(self, ids: Iterable[int]) -> int:
        """Drop files, and contents that nobody has any more; gives how many files."""
        rows = [(id_,) for id_ in ids]
        with self.writing() as db:
            db.executemany("DELETE FROM files WHERE id = ?", rows)
            db.execute(
                "DELETE FROM contents WHERE NOT EXISTS"
                "(SELECT 1 FROM files WHERE files.content = contents.id)"
            )
        return len(rows)

    def tag_files(self, ids: Iterable[int], tags: Sequence[str]) -> None:
        """Give every one of these files all of the tags."""
        rows = [(id_, tag) for id_ in ids for tag in tags]
        with self.writing() as db:
            db.executemany(
                "INSERT OR IGNORE INTO tags(file, tag) SELECT id, ?2 FROM files WHERE id = ?1", rows
            )

    def vectors_of(self, digest: bytes, model: int) -> Array | None:
        """The vectors `[K, D]`, float32, of the content with that digest, if there are any."""
        import numpy as np

        rows = self.db.execute(
            "SELECT v.vector FROM vectors v JOIN contents c ON c.id = v.content "
            "WHERE c.digest = ? AND v.model = ? ORDER BY v.frame",
            (digest, model),
        ).fetchall()
        if not rows:
            return None
        return np.stack([np.frombuffer(row[0], np.float16) for row in rows]).astype(np.float32)


class VectorLookup:
    """Says which contents have vectors; any thread may ask."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db, self._lock = db, threading.Lock()

    def has_vectors(self, digest: bytes, model: int) -> bool:
        """Whether the model has vectors of the content with that digest."""
        with self._lock:
            (found,) = self._db.execute(
                "SELECT EXISTS(SELECT 1 FROM contents c JOIN vectors v ON v.content = c.id "
                "WHERE c.digest = ? AND v.model = ?)",
                (digest, model),
            ).fetchone()
        return bool(found)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


def open_index_store(folder: str | Path, make: bool = False) -> Store:
    """The index in a folder; `make` creates an empty one where there is none.

    Where the folder cannot be written to, it is opened for reading alone. Raises MissingError if
    there is no index, RunError if the file is none of ours or of a later pixweave.
    """
    folder = Path(folder).expanduser()
    path = folder / NAME
    if not path.is_file() and not make:
        raise MissingError(
            f"there is no index in '{folder}'; make one with `pixweave index FOLDER`"
        )
    try:
        if make:
            folder.mkdir(parents=True, exist_ok=True)
        store = Store(folder, read_only=path.is_file() and not os.access(path, os.W_OK))
        try:
            _prepare(store)
        except BaseException:
            store.close()
            raise
    except (OSError, sqlite3.OperationalError) as error:
        raise RunError(f"the index '{folder}' cannot be opened: {error}") from None
    except sqlite3.DatabaseError as error:
        raise RunError(f"'{path}' is no index of pixweave: {error}") from None
    return store


def _prepare(store: Store) -> None:
    (version,) = store.db.execute("PRAGMA user_version").fetchone()
    if version == 0 and not store.read_only:
        store.db.execute("PRAGMA page_size=16384")  # a vector is 1 kB: less of each page is waste
        store.db.execute("PRAGMA journal_mode=WAL")
        with store.writing() as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version == 0:  # nobody was faster
                for statement in _statements(SCHEMA):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version={VERSION}")
                version = VERSION
    if version != VERSION:
        raise RunError(
            f"the index '{store.folder}' is of format {version}, this pixweave reads {VERSION}; "
            "update pixweave, or name another index with --index"
        )


def _statements(script: str) -> Iterator[str]:
    """The statements of a script one by one: `executescript` would commit in between."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _parts(items: Sequence[Any], size: int = 500) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
