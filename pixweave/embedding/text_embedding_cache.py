"""Text embedding cache: vectors of labels, templates and queries, encoded once and kept on disk.

One SQLite file, `texts.sqlite` in pixweave's cache folder, keyed by the perceptor's identity. It is
safe to delete. If it cannot be read or written, texts are encoded again.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pixweave.borders.guard import Guard, full_name
from pixweave.borders.wording import not_a
from pixweave.errors import PartError
from pixweave.models import home

if TYPE_CHECKING:
    import numpy as np

    from pixweave.component import Part
    from pixweave.protocols import Perceptor

    Array = np.ndarray[Any, Any]

NAME = "texts.sqlite"
MOST = 100_000
"""How many vectors are kept, the newest; about 220 MB at 512 numbers each."""
AT_ONCE = 64
"""Texts encoded together."""
KEEP_EVERY = 1024
"""Number of texts after which finished vectors are written."""

_SCHEMA = """CREATE TABLE IF NOT EXISTS texts(
  id INTEGER PRIMARY KEY AUTOINCREMENT, model TEXT NOT NULL, text TEXT NOT NULL,
  vector BLOB NOT NULL, UNIQUE(model, text))"""


def identity_of(part: Part) -> str:
    """A text that is equal for comparable vectors: name, settings and digest of the weights.

    The component's `identity()` if it gives one; else a digest of its settings. The same weights
    in another precision have the same identity. That of a plugin that does not ship with pixweave
    includes its version, or the digest of its file: a change of its code changes its vectors. For
    bundled plugins it does not, so that an update keeps the indexes; their tests compare vectors.
    """
    name = part.use.rpartition("/")[2]
    head = name if part.bundled else f"{part.plugin}@{part.version}/{name}"
    identity = _identity(part)
    if identity is not None:
        return f"{head}:{identity}"
    import hashlib

    from pixweave.recipe.recipe import plain

    text = json.dumps(plain(part.settings), sort_keys=True)
    return f"{head}:{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"


def lasting_identity(part: Part) -> str | None:
    """The key of text vectors in the cache; None if the component has no `identity()`."""
    return None if _identity(part) is None else identity_of(part)


def _identity(part: Part) -> str | None:
    """The component's own identity, or None; PartError if it is something else."""
    with Guard(full_name(part), thorough=False):
        identity = part.settings.identity()
    if identity is not None and not isinstance(identity, str):
        raise PartError(full_name(part), f"{not_a(identity, 'a text or None')} from identity()")
    return identity


def text_vectors(perceptor: Perceptor, part: Part, texts: Sequence[str]) -> Array:
    """Unit vectors float32 `[P, D]` of texts by a built perceptor, using the cache."""
    import torch
    from torch.nn.functional import normalize

    def encode(fresh: list[str]) -> Array:
        with torch.no_grad():
            vectors: Array = normalize(perceptor.encode_text(fresh).float(), dim=1).cpu().numpy()
        return vectors

    return cached_vectors(lasting_identity(part), texts, encode)


def cached_vectors(
    identity: str | None, texts: Sequence[str], encode: Callable[[list[str]], Array]
) -> Array:
    """Unit vectors float32 `[P, D]` of the texts; `encode` is called for those not in the cache.

    `identity` is equal for comparable vectors; None: the cache is not used.
    """
    import numpy as np

    known = {} if identity is None else dict(_read(identity, texts))
    fresh = [text for text in dict.fromkeys(texts) if text not in known]
    for start in range(0, len(fresh), KEEP_EVERY):
        part = fresh[start : start + KEEP_EVERY]
        groups = [part[i : i + AT_ONCE] for i in range(0, len(part), AT_ONCE)]
        vectors = np.concatenate([encode(group) for group in groups])
        encoded = dict(zip(part, vectors.astype(np.float32, copy=False), strict=True))
        known |= encoded
        if identity is not None:
            keep(identity, encoded)
    return np.stack([known[text] for text in texts])


def keep(identity: str, vectors: dict[str, Array]) -> None:
    """Write vectors to the cache if possible; the oldest are deleted if there are too many."""
    rows = [(identity, text, v.astype("float32").tobytes()) for text, v in vectors.items()]
    with contextlib.suppress(sqlite3.Error, OSError), _open(make=True) as db, db:
        db.execute(_SCHEMA)
        db.executemany("INSERT OR REPLACE INTO texts(model, text, vector) VALUES(?,?,?)", rows)
        db.execute("DELETE FROM texts WHERE id <= (SELECT MAX(id) FROM texts) - ?", (MOST,))


def _read(identity: str, texts: Sequence[str]) -> Iterator[tuple[str, Array]]:
    import numpy as np

    with contextlib.suppress(sqlite3.Error, OSError), _open() as db:
        for text in texts:
            row = db.execute(
                "SELECT vector FROM texts WHERE model = ? AND text = ?", (identity, text)
            ).fetchone()
            if row:
                yield text, np.frombuffer(row[0], np.float32)


@contextlib.contextmanager
def _open(make: bool = False) -> Iterator[sqlite3.Connection]:
    path = home() / NAME
    if make:
        path.parent.mkdir(parents=True, exist_ok=True)
    uri = f"{path.absolute().as_uri()}?mode={'rwc' if make else 'ro'}"
    db = sqlite3.connect(uri, uri=True, timeout=10)
    try:
        yield db
    finally:
        db.close()
