"""The database of an index: one SQLite file in WAL mode. Matrices are derived from it.

    files      path, size, modification time, and content, or the reason why it is unreadable
    contents   digest of the bytes, and properties of the image; copies share one content
    vectors    float16, one per frame used, by content and model; ids are never reused
    models     identity of a perceptor, and preprocessing; vectors of two models are never mixed
    tags       tags that the user gave to files

Several processes may read and write concurrently. Commits survive the death of a process; after a
power cut the last seconds may be lost, but the file stays intact (synchronous=NORMAL).
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
"""Seconds to wait for another writer; writers hold the lock for milliseconds at a time."""

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
    """The origin of vectors: the identity of a perceptor and the preprocessing of images."""

    id: int
    identity: str
    preprocessing: str
    dim: int
    perceptor: str
    """The perceptor as JSON, as in a recipe; the default of searches."""
    count: int
    """The number of its vectors."""


@dataclass(frozen=True)
class Known:
    """The database entry of a path."""

    id: int
    size: int
    mtime_ns: int
    content: int | None
    reason: str | None
    encoded: bool
    """Whether its content has vectors of the given model."""


class Store:
    """One index folder. Paths below its parent folder are stored relative to that.

    So an index next to the photographs can be moved with them. Made by `open_index_store`; close
    it after use.
    """

    def __init__(self, folder: Path, read_only: bool = False) -> None:
        self.folder = folder
        self.base = os.path.join(os.path.dirname(os.path.abspath(folder)), "")
        self.read_only = read_only
        self.db = self._connect()

    def _connect(self) -> sqlite3.Connection:
        path = self.folder / NAME
        # "immutable" would miss changes by others; mode=ro requires that the -shm file exists
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
        """A separate connection for use in other threads; close it after use."""
        return VectorLookup(self._connect())

    def close(self) -> None:
        """Close the database."""
        self.db.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, rolled back if an error is raised."""
        self.db.execute("BEGIN IMMEDIATE")
        try:
            yield self.db
        except BaseException:
            self.db.execute("ROLLBACK")
            raise
        self.db.execute("COMMIT")

    def kept(self, path: str) -> bytes:
        """An absolute path as it is stored; bytes, since names may not be valid text."""
        return os.fsencode(path.removeprefix(self.base))

    def full(self, kept: str) -> str:
        """The absolute path of a stored path."""
        return os.path.join(self.base, kept)

    def models(self) -> list[Model]:
        """All models that were used with this index, in the order of first use."""
        rows = self.db.execute(
            "SELECT id, identity, look, dim, perceptor, count FROM models ORDER BY id"
        )
        return [Model(*row) for row in rows]

    def model(self, identity: str, preprocessing: str, dim: int, perceptor: str) -> Model:
        """The model with that identity and preprocessing, created if it is new.

        RunError if it exists with another size of vectors.
        """
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
                f"the index has vectors of {found.dim} numbers for the identity '{identity}', but "
                f"the perceptor now gives {dim}; use another index with --index"
            )
        return found

    def known(self, paths: Sequence[str], model: int) -> dict[str, Known]:
        """The entries of these absolute paths; new paths are left out."""
        found = {}
        for part in _parts(paths):
            placeholders = ",".join(["CAST(? AS TEXT)"] * len(part))
            rows = self.db.execute(
                "SELECT path, id, size, mtime_ns, content, reason, EXISTS(SELECT 1 FROM vectors v "
                "WHERE v.content = f.content AND v.model = ?) FROM files f "
                f"WHERE path IN ({placeholders})",
                [model, *map(self.kept, part)],
            )
            for path, id_, size, mtime, content, reason, encoded in rows:
                found[self.full(path)] = Known(id_, size, mtime, content, reason, bool(encoded))
        return found

    def know_sizes(self) -> None:
        """Create the SQL index that makes `digests_of_size` fast, if it does not exist."""
        self.db.execute("CREATE INDEX IF NOT EXISTS files_size ON files(size)")

    def digests_of_size(self, sizes: Iterable[int], model: int, most: int) -> list[bytes]:
        """Digests of contents with vectors of the model and files of one of these sizes.

        They include the contents of copies and moved files. At most `most` are returned.
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
        """Id and absolute path of every indexed file below an absolute folder, or of that file."""
        stored = self.kept(root)
        if os.path.join(root, "") == self.base:
            rows = self.db.execute("SELECT id, path FROM files WHERE substr(path, 1, 1) <> '/'")
        else:
            rows = self.db.execute(
                "SELECT id, path FROM files WHERE path = CAST(?1 AS TEXT) "
                "OR (path >= CAST(?2 AS TEXT) AND path < CAST(?3 AS TEXT))",
                (stored, stored.rstrip(b"/") + b"/", stored.rstrip(b"/") + b"0"),
            )
        for id_, path in rows:
            full = self.full(path)
            if full == root or full.startswith(os.path.join(root, "")):
                yield id_, full

    def readable(self) -> Iterator[str]:
        """Path of every readable image."""
        rows = self.db.execute("SELECT path FROM files WHERE content IS NOT NULL ORDER BY path")
        for (path,) in rows:
            yield self.full(path)

    def broken(self) -> Iterator[tuple[str, str]]:
        """Path and reason of every unreadable file."""
        rows = self.db.execute(
            "SELECT path, reason FROM files WHERE reason IS NOT NULL ORDER BY path"
        )
        for path, reason in rows:
            yield self.full(path), reason

    def counts(self) -> tuple[int, int]:
        """The number of indexed and of unreadable files."""
        readable, unreadable = self.db.execute(
            "SELECT COUNT(content), COUNT(reason) FROM files"
        ).fetchone()
        return readable, unreadable

    def rows_after(self, model: int, last: int) -> Iterator[tuple[int, bytes]]:
        """Id and float16 bytes of the model's vectors with ids above `last`, ascending."""
        yield from self.db.execute(
            "SELECT id, vector FROM vectors WHERE id > ? AND model = ? ORDER BY id", (last, model)
        )

    def write_row(self, model: int, row: Row) -> set[int]:
        """Write a row, within `writing()`; return the set of the file's id.

        It is empty if the content was known when the file was read, but another process has
        deleted it since: the entry stays unchanged, for the next update.
        """
        import numpy as np

        file, image, vectors = row
        content = reason = None
        if isinstance(image, UnreadableImage):
            reason = image.reason
        else:
            if image.format:
                self.db.execute(
                    "INSERT OR IGNORE INTO contents(digest, width, height, format, taken) "
                    "VALUES(?,?,?,?,?)",
                    (image.digest, image.width, image.height, image.format, image.taken),
                )
            found = self.db.execute(
                "SELECT id FROM contents WHERE digest = ?", (image.digest,)
            ).fetchone()
            if found is None:
                return set()
            content = found[0]
            for frame, vector in zip(
                image.frames, () if vectors is None else vectors, strict=False
            ):
                self.db.execute(
                    "INSERT OR IGNORE INTO vectors(model, content, frame, vector) VALUES(?,?,?,?)",
                    (model, content, frame, vector.astype(np.float16).tobytes()),
                )
        size, mtime = (file.size, file.mtime_ns) if isinstance(file, ImageFile) else (-1, 0)
        (id_,) = self.db.execute(
            "INSERT INTO files(path, size, mtime_ns, content, reason) "
            "VALUES(CAST(? AS TEXT),?,?,?,?) ON CONFLICT(path) DO UPDATE SET size=excluded.size, "
            "mtime_ns=excluded.mtime_ns, content=excluded.content, reason=excluded.reason "
            "RETURNING id",
            (self.kept(image.path), size, mtime, content, reason),
        ).fetchone()
        return {id_}

    def delete_files(self, ids: Iterable[int]) -> int:
        """Delete files, and contents without files; return the number of files."""
        rows = [(id_,) for id_ in ids]
        with self.writing() as db:
            db.executemany("DELETE FROM files WHERE id = ?", rows)
            db.execute(
                "DELETE FROM contents WHERE NOT EXISTS"
                "(SELECT 1 FROM files WHERE files.content = contents.id)"
            )
        return len(rows)

    def tag_files(self, ids: Iterable[int], tags: Sequence[str]) -> None:
        """Add all tags to each of these files."""
        rows = [(id_, tag) for id_ in ids for tag in tags]
        with self.writing() as db:
            db.executemany(
                "INSERT OR IGNORE INTO tags(file, tag) SELECT id, ?2 FROM files WHERE id = ?1", rows
            )

    def vectors_of(self, digest: bytes, model: int) -> Array | None:
        """The vectors of the content with that digest, float32 `[K, D]`; None if there are none."""
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
    """Checks which contents have vectors; can be used from any thread."""

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
        """Close the database."""
        self._db.close()


def open_index_store(folder: str | Path, make: bool = False) -> Store:
    """Open the index in a folder; `make` creates an empty one if there is none.

    It is opened read-only if it cannot be written. Raises MissingError if there is no index,
    RunError if the file is not an index or has the format of a newer pixweave.
    """
    folder = Path(folder).expanduser()
    path = folder / NAME
    if not path.is_file() and not make:
        raise MissingError(
            f"there is no index in '{folder}'; create one with `pixweave index FOLDER`"
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
        raise RunError(f"'{path}' is not a pixweave index: {error}") from None
    return store


def _prepare(store: Store) -> None:
    (version,) = store.db.execute("PRAGMA user_version").fetchone()
    if version == 0 and not store.read_only:
        store.db.execute("PRAGMA page_size=16384")  # vectors of 1 kB waste less of a large page
        store.db.execute("PRAGMA journal_mode=WAL")
        with store.writing() as db:
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version == 0:  # no other process has created it meanwhile
                for statement in _statements(SCHEMA):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version={VERSION}")
                version = VERSION
    if version != VERSION:
        raise RunError(
            f"the index '{store.folder}' has format {version}, this pixweave reads {VERSION}; "
            "update pixweave, or name another index with --index"
        )


def _statements(script: str) -> Iterator[str]:
    """The statements of a script: `executescript` would commit the transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _parts(items: Sequence[Any], size: int = 500) -> Iterator[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
