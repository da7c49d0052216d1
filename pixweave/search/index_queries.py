"""The SQL of searches: filters, vectors and hits."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pixweave.search.index_store import Model, Store
from pixweave.search.query import Filters, Hit

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

AT_ONCE = 500
"""Ids per statement; SQLite has a limit."""

_TYPES = {"jpg": "jpeg", "tif": "tiff", "heic": "heif", "pgm": "ppm", "pbm": "ppm", "pnm": "ppm"}
"""File suffixes whose format has another name in Pillow."""


def filter_sql(filters: Filters, store: Store) -> tuple[str, list[Any]]:
    """The SQL condition on `files f` and `contents c`, and its values."""
    parts: list[str] = ["1"]
    values: list[Any] = []
    if filters.under:
        folders = []
        for folder in filters.under:
            start = store.kept(os.path.join(os.path.abspath(os.path.expanduser(folder)), ""))
            if start:
                folders.append("(f.path >= CAST(? AS TEXT) AND f.path < CAST(? AS TEXT))")
                values += [start, start[:-1] + b"0"]
            else:  # the folder that contains the index
                folders.append("substr(f.path, 1, 1) <> '/'")
        parts.append(f"({' OR '.join(folders)})")
    if filters.name:
        either = "f.path GLOB ? OR ('/' || f.path) GLOB ('*/' || ?)"
        parts.append("(" + " OR ".join([either] * len(filters.name)) + ")")
        values += [name for name in filters.name for _ in (0, 1)]
    when = "COALESCE(c.taken, f.mtime_ns / 1e9)"
    for condition, value in (
        (f"{when} >= ?", filters.since),
        (f"{when} < ?", filters.until),
        ("f.size >= ?", filters.min_bytes),
        ("f.size <= ?", filters.max_bytes),
        ("MIN(c.width, c.height) >= ?", filters.min_side),
    ):
        if value is not None:
            parts.append(condition)
            values.append(value)
    if filters.types:
        parts.append(f"c.format IN ({','.join('?' * len(filters.types))})")
        values += [_TYPES.get(t.lower().lstrip("."), t.lower().lstrip(".")) for t in filters.types]
    for tag in filters.tags:
        parts.append("EXISTS(SELECT 1 FROM tags t WHERE t.file = f.id AND t.tag = ?)")
        values.append(tag)
    return " AND ".join(parts), values


def vectors_by_path(store: Store, model: Model, filters: Filters) -> dict[str, int]:
    """The paths that match the filters, with the id of the vector of their first frame."""
    where, values = filter_sql(filters, store)
    rows = store.db.execute(
        "SELECT f.path, v.id FROM files f JOIN contents c ON c.id = f.content "
        "JOIN vectors v ON v.content = c.id WHERE v.model = ?1 AND v.frame = (SELECT "
        "MIN(w.frame) FROM vectors w WHERE w.content = c.id AND w.model = ?1) AND " + where,
        [model.id, *values],
    )
    return {store.full(path): vector for path, vector in rows}


def vector_ids(store: Store, model: Model, filters: Filters) -> Array:
    """The ids of the vectors of all files that match the filters, ascending, int64."""
    where, values = filter_sql(filters, store)
    rows = store.db.execute(
        "SELECT v.id FROM files f JOIN contents c ON c.id = f.content "
        f"JOIN vectors v ON v.content = c.id WHERE v.model = ? AND {where}",
        [model.id, *values],
    )
    return np.unique(np.fromiter((row[0] for row in rows), np.int64))


def hits_of(store: Store, vectors: Sequence[int], filters: Filters) -> Iterator[Hit]:
    """A hit without a score for each file of these vectors that matches the filters."""
    where, values = filter_sql(filters, store)
    for start in range(0, len(vectors), AT_ONCE):
        part = vectors[start : start + AT_ONCE]
        rows = store.db.execute(
            "SELECT v.id, v.frame, f.id, f.path, f.size, COALESCE(c.taken, f.mtime_ns / 1e9), "
            "c.width, c.height, c.format FROM vectors v JOIN contents c ON c.id = v.content "
            f"JOIN files f ON f.content = c.id WHERE v.id IN ({','.join('?' * len(part))}) "
            f"AND {where}",
            [*part, *values],
        )
        for vector, frame, id_, path, size, date, width, height, kind in rows:
            yield Hit(store.full(path), None, width, height, kind, size, date, frame, id_, vector)
