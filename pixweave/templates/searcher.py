"""Searcher `example`: compare the query with every vector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pixweave import Component, hookimpl

if TYPE_CHECKING:
    import numpy as np

    from pixweave.protocols import Searcher
    from pixweave.search import SearchContext

    Array = np.ndarray[Any, Any]

api = 1


class Example(Component):
    """Compare the query with every vector: exact, and fast for some thousands of images."""

    def build(self, run: SearchContext) -> Searcher:
        """The searcher, on the vectors float32 `[N, D]` of the index."""
        return Everything(run.matrix.vectors)


class Everything:
    """Sorts all cosines."""

    def __init__(self, vectors: Array) -> None:
        self.vectors = vectors

    def search(self, goal: Array, count: int, allowed: Array | None) -> tuple[Array, Array]:
        """The rows of the `count` nearest vectors, and their cosines, best first."""
        import numpy as np

        rows = np.arange(len(self.vectors)) if allowed is None else allowed
        cosines = self.vectors[rows] @ goal
        best = np.argsort(-cosines, kind="stable")[:count]  # stable: equal ones in their order
        return rows[best], cosines[best]


@hookimpl
def register_searchers() -> dict[str, type[Component]]:
    """Register `example`."""
    return {"example": Example}
