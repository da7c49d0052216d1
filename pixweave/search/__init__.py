"""Search: an index of pictures that is kept up to date, and what is asked of it.

    with open_index("photos/.index", make=True) as index:
        for progress in index.update(IndexOptions(["photos"])):
            print(progress.encoded, progress.rate)
        for hit in index.search(Query([Term("a red boat")])):
            print(hit.score, hit.path)

store.py    the truth: paths, contents, vectors, faults, in SQLite
options.py     what to index, and how far it is
update.py   files and folders into the store: only what is new is encoded
rows.py     files with their vectors, made by a perceptor and written to the store
shards.py   the same work in pieces, for an executor; the journal of those that are done
matrix.py   all vectors of a model in one mapped file, derived from the store
query.py    terms, filters, cut-offs, order
index.py    from a query to hits                                       <- start reading here
show.py     hits as rows, contact sheet, HTML page
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixweave.search.options import IndexOptions, IndexProgress
from pixweave.search.query import Bound, Filters, Hit, Query, Term

if TYPE_CHECKING:
    from pixweave.search.image_index import Index, SearchContext, open_index

__all__ = [
    "Bound",
    "Filters",
    "Hit",
    "Index",
    "IndexOptions",
    "IndexProgress",
    "Query",
    "SearchContext",
    "Term",
    "is_index",
    "open_index",
]


def is_index(folder: str | os.PathLike[str]) -> bool:
    """Whether an index of pictures lies in that folder."""
    return Path(folder, "index.sqlite").is_file()


def __getattr__(name: str) -> Any:
    """Import what needs numpy when it is first asked for."""
    if name in ("Index", "SearchContext", "open_index"):
        import importlib

        return getattr(importlib.import_module("pixweave.search.image_index"), name)
    raise AttributeError(f"module 'pixweave.search' has no attribute '{name}'")
