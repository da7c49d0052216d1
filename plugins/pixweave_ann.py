"""Searcher `ann`: approximate search with an HNSW graph, for many millions of vectors.

Uses usearch, which is an optional dependency (`pixweave[ann]`).
"""

from __future__ import annotations

import contextlib
import json
import os
from typing import TYPE_CHECKING, Any

from pixweave import Component, Field, hookimpl
from pixweave.errors import MissingError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from pixweave.search import SearchContext

    Array = np.ndarray[Any, Any]


class Ann(Component):
    """Approximate nearest-neighbour search (HNSW), for about two million vectors or more.

    Needs usearch: pip install 'pixweave[ann]'. The graph (Malkov and Yashunin 2016) is built once,
    is stored beside the index and grows with it. Text vectors lie apart from image vectors, which
    makes text queries harder for a graph; the default `width` is chosen for them. Filters are
    exact: where they leave few rows, all of those are compared.
    """

    width: int = Field(
        512,
        ge=16,
        le=8192,
        description="candidates that a search keeps; more is more accurate and slower",
    )
    links: int = Field(16, ge=4, le=128, description="links per vector in the graph")
    effort: int = Field(
        128, ge=16, le=2048, description="candidates compared when a vector is added to the graph"
    )

    def build(self, run: Any) -> Any:
        """The searcher, with its graph brought up to date."""
        return _Ann(self, run)


class _Ann:
    def __init__(self, settings: Ann, run: SearchContext) -> None:
        try:
            from usearch.index import Index
        except ImportError:
            raise MissingError(
                "searcher 'ann' needs usearch; install it with: pip install 'pixweave[ann]'"
            ) from None
        self.matrix, self.settings = run.matrix, settings
        self.graph: Any = Index(
            ndim=run.matrix.vectors.shape[1],
            metric="ip",
            dtype="f32",
            connectivity=settings.links,
            expansion_add=settings.effort,
            expansion_search=settings.width,
        )
        self._bring_up_to_date()

    def search(self, goal: Array, count: int, allowed: Array | None) -> tuple[Array, Array]:
        """Rows and scores of the nearest vectors, best first.

        Exact where the filters leave less than a fifth of the rows.
        """
        import numpy as np

        total = len(self.matrix.vectors)
        if allowed is None:
            rows = self._nearest(goal, count)
        else:
            share = len(allowed) / max(1, total)
            rows = np.empty(0, np.int64)
            if share >= 0.2:
                rows = self._nearest(goal, int(2 * count / share))
                rows = rows[np.isin(rows, allowed)]
            if len(rows) < min(count, len(allowed)):
                rows = allowed
        scores = self.matrix.vectors[rows] @ goal
        order = np.lexsort((rows, -scores))[:count]
        return rows[order], scores[order]

    def _nearest(self, goal: Array, count: int) -> Array:
        import numpy as np

        total = len(self.matrix.vectors)
        if max(count, self.settings.width) >= total:  # a graph may not reach all rows
            return np.arange(total)
        self.graph.expansion_search = max(self.settings.width, count)
        return np.asarray(self.graph.search(goal, count).keys).astype(np.int64)

    def _bring_up_to_date(self) -> None:
        """Load the saved graph if there is one, add the missing rows, and save it."""
        import numpy as np

        matrix = self.matrix
        if matrix.folder is None:
            known = 0
        else:
            head = matrix.folder / f"{matrix.name}-{matrix.generation}.ann.json"
            known = self._load(head)
        missing = np.arange(known, len(matrix.vectors))
        if len(missing):
            self.graph.add(missing, matrix.vectors[known:])
            if matrix.folder is not None:
                self._save(head, len(matrix.vectors))

    def _load(self, head: Path) -> int:
        """Load the saved graph and return its number of rows; 0 if there is none that fits."""
        try:
            saved = json.loads(head.read_text("utf-8"))
            if saved["links"] == self.settings.links and saved["rows"] <= len(self.matrix.vectors):
                self.graph.load(head.with_name(saved["file"]))
                self.graph.expansion_add = self.settings.effort
                if len(self.graph) == saved["rows"]:
                    return int(saved["rows"])
                self.graph.clear()
        except (OSError, ValueError, KeyError, RuntimeError, TypeError):
            self.graph.clear()
        return 0

    def _save(self, head: Path, rows: int) -> None:
        """Write the graph to a new file, then the json that names it.

        An interrupted save leaves the previous graph intact.
        """
        from pixweave.media.atomic_write import write_whole

        name = f"{head.name.removesuffix('.json')}-{os.urandom(4).hex()}.graph"
        file = head.with_name(name)
        with contextlib.suppress(OSError):
            self.graph.save(file)
            write_whole(
                head, json.dumps({"file": name, "rows": rows, "links": self.settings.links})
            )
            for old in head.parent.glob(f"{head.name.removesuffix('.json')}-*.graph"):
                if old != file:
                    old.unlink()


@hookimpl
def register_searchers() -> dict[str, type[Component]]:
    """Register `ann`."""
    return {"ann": Ann}
