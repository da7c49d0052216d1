"""CheckedSearcher: a searcher as the host sees it: guarded, and its rows and cosines checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pixweave.borders.guard import Guard
from pixweave.borders.wording import describe, missing_from
from pixweave.errors import PartError

if TYPE_CHECKING:
    from pixweave.protocols import Array, Searcher


class CheckedSearcher:
    """Calls a searcher under its name in errors, and checks what it finds in `total` rows."""

    def __init__(self, name: str, searcher: Searcher, total: int) -> None:
        self.name, self._searcher, self._total = name, searcher, total
        if fault := missing_from(searcher, ["search"]):
            raise PartError(name, fault)

    def search(self, goal: Array, count: int, allowed: Array | None) -> tuple[Array, Array]:
        """Rows and cosines of the nearest vectors; PartError if they are not what they must be."""
        with Guard(self.name):
            found = self._searcher.search(goal, count, allowed)
        self._check(found)
        return found

    def _check(self, found: Any) -> None:
        pair = isinstance(found, tuple) and len(found) == 2
        if not pair or not all(isinstance(array, np.ndarray) for array in found):
            words = " and ".join(map(describe, found)) if pair else describe(found)
            self._fail(words)
        rows, cosines = found
        if rows.ndim != 1 or rows.shape != cosines.shape or rows.dtype.kind not in "iu":
            self._fail(f"{describe(rows)} and {describe(cosines)}")
        if len(rows) and (rows.min() < 0 or rows.max() >= self._total):
            wrong = rows[(rows < 0) | (rows >= self._total)][0]
            raise PartError(self.name, f"gave row {wrong} of a matrix of {self._total} rows")
        if not np.isfinite(cosines).all():
            raise PartError(self.name, "gave a cosine that is nan or infinite")

    def _fail(self, words: str) -> None:
        raise PartError(
            self.name,
            f"gave {words}; it must give two arrays [K]: rows as int64, and cosines as float32",
        )
