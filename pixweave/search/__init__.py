"""Image search: an incremental index of images, and queries to it.

    with open_index("photos.index", make=True) as index:
        index.add("photos")
        for hit in index.search("a red boat", top=5):
            print(hit.score, hit.path)

image_index.py       from a query to hits                              <- start reading here
query.py             queries: terms, filters, cut-offs, order
index_store.py       the SQLite database: paths, contents, vectors, errors
index_queries.py     the SQL of searches
indexing.py          updates the index from files and folders: only new images are encoded
options.py           options and progress of an update
index_rows.py        files with their vectors, encoded and ready for the database
shards.py            the same work in pieces for an executor; the journal of finished pieces
matrix.py            all vectors of a model in one memory-mapped file, derived from the database
hits.py              the list of hits, which notebooks show
contact_sheet.py     hits as text, contact sheet, HTML page
search_settings.py   setting types of search stages in recipes
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixweave.search.options import IndexOptions, IndexProgress
from pixweave.search.query import Bound, Filters, Hit, Query, Term

if TYPE_CHECKING:
    from pixweave.search.hits import Hits
    from pixweave.search.image_index import Index, SearchContext, open_index

__all__ = [
    "Bound",
    "Filters",
    "Hit",
    "Hits",
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
    """Whether the folder is an image index."""
    return Path(folder, "index.sqlite").is_file()


def __getattr__(name: str) -> Any:
    """Import names that need numpy on first access."""
    if name in ("Hits", "Index", "SearchContext", "open_index"):
        import importlib

        module = "hits" if name == "Hits" else "image_index"
        return getattr(importlib.import_module(f"pixweave.search.{module}"), name)
    raise AttributeError(f"module 'pixweave.search' has no attribute '{name}'")
