"""Vectors of texts, encoded once and kept on disk: for labels, templates and queries alike.

One SQLite file, `texts.sqlite` among pixweave's own files, by the identity of the perceptor. It is
a cache: delete it freely. Where it cannot be read or written, each text is encoded anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pixweave.models import home
from pixweave.recipe.recipe import plain

if TYPE_CHECKING:
    import numpy as np

    from pixweave.component import Part
    from pixweave.protocols import Perceptor

    Array = np.ndarray[Any, Any]

NAME = "texts.sqlite"
MOST = 100_000
"""How many vectors are kept, the newest: at 512 numbers each some 220 MB."""
AT_ONCE = 64
"""Texts that are encoded together."""
KEEP_EVERY = 1024
"""Texts after which finished ones are written."""

_SCHEMA = """CREATE TABLE IF NOT EXISTS texts(
  id INTEGER PRIMARY KEY AUTOINCREMENT, model TEXT NOT NULL, text TEXT NOT NULL,
  vector BLOB NOT NULL, UNIQUE(model, text))"""


def identity_of(part: Part) -> str:
    """Equal where vectors may be compared: name, settings and digest of the weights.

    The component's own `identity()`, where it has one; else a digest of its settings. The same
    weights in another precision have the same identity.
    """
    own = part.settings.identity()
    if own is not None:
        return f"{part.use}:{own}"
    text = json.dumps(plain(part.settings), sort_keys=True)
    return f"{part.use}:{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"


def lasting_identity(part: Part) -> str | None:
    """The identity under which vectors of texts are kept; None where no `identity()` vouches."""
    return None if part.settings.identity() is None else identity_of(part)


def text_vectors(perceptor: Perceptor, part: Part, texts: Sequence[str]) -> Array:
    """Unit vectors float32 `[P, D]` of texts by a built perceptor; known ones from the disk."""
    import torch
    from torch.nn.functional import normalize

    def encode(fresh: list[str]) -> Array:
        with torch.no_grad():
            made: Array = normalize(perceptor.encode_text(fresh).float(), dim=1).cpu().numpy()
        return made

    return cached_vectors(lasting_identity(part), texts, encode)


def cached_vectors(
    identity: str | None, texts: Sequence[str], encode: Callable[[list[str]], Array]
) -> Array:
    """Unit vectors float32 `[P, D]` of the texts; `encode` makes those that are not kept.

    `identity` is equal where vectors may be compared; None: nothing is kept.
    """
    import numpy as np

    known = {} if identity is None else dict(_read(identity, texts))
    fresh = [text for text in dict.fromkeys(texts) if text not in known]
    for start in range(0, len(fresh), KEEP_EVERY):
        part = fresh[start : start + KEEP_EVERY]
        groups = [part[i : i + AT_ONCE] for i in range(0, len(part), AT_ONCE)]
        made = np.concatenate([encode(group) for group in groups]).astype(np.float32, copy=False)
        found = dict(zip(part, made, strict=True))
        known |= found
        if identity is not None:
            keep(identity, found)
    return np.stack([known[text] for text in texts])


def keep(identity: str, vectors: dict[str, Array]) -> None:
    """Write vectors down, if that can be done; the oldest go where there are too many."""
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
