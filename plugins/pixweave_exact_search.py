"""Searcher `exact`: one matrix product with the query. No graph, no tuning, recall 1."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pixweave import Component, hookimpl

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

CLOSE = 4e-6
"""float32 scores closer than this may be in the wrong order."""


class Exact(Component):
    """Exact search: compares the query with every vector; fast up to about two million vectors.

    With 100,000 vectors of 512 dimensions it takes 15 to 25 ms on one core. Filters make it faster,
    not slower.
    """

    def build(self, run: Any) -> Any:
        """The searcher; it keeps nothing in memory but the memory-mapped matrix."""
        return _Exact(run.matrix.vectors)


class _Exact:
    def __init__(self, vectors: Array) -> None:
        self.vectors = vectors

    def search(self, goal: Array, count: int, allowed: Array | None) -> tuple[Array, Array]:
        """Rows and scores of the best `count` vectors and any that may tie with the last of them.

        Best first; equal scores are in the order of the rows.
        """
        import numpy as np

        part = self.vectors if allowed is None else self.vectors[allowed]
        scores = part @ goal
        if count < len(scores):
            least = np.partition(scores, len(scores) - count)[len(scores) - count]
            found = np.flatnonzero(scores >= least - CLOSE)
        else:
            found = np.arange(len(scores))
        found = found[np.lexsort((found, -scores[found]))]
        return (found if allowed is None else allowed[found]), scores[found]


@hookimpl
def register_searchers() -> dict[str, type[Component]]:
    """Register `exact`."""
    return {"exact": Exact}
