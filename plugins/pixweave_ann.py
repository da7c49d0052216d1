"""Searcher `ann`: a graph over the vectors (HNSW), for many millions; by usearch, an extra."""

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
    """Approximate search by a graph (Malkov and Yashunin 2016), from about two million vectors on.

    Needs usearch: pip install 'pixweave[ann]'. The graph is built once, grows with the index and
    lies beside it. Texts lie apart from pictures, and are harder to find by a graph: `width` is
    chosen for them. Filters are exact: where they leave few rows, those are all compared.
    """

    width: int = Field(
        512, ge=16, le=8192, description="how many candidates a search keeps; more is surer, slower"
    )
    links: int = Field(16, ge=4, le=128, description="links of each vector in the graph")
    effort: int = Field(128, ge=16, le=2048, description="candidates that are tried when it grows")

    def build(self, run: Any) -> Any:
        """The live searcher, with its graph brought up to date."""
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
        """The nearest rows, best first; exact where filters leave less than a fifth."""
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
        if max(count, self.settings.width) >= total:  # a graph may leave some of them out of reach
            return np.arange(total)
        self.graph.expansion_search = max(self.settings.width, count)
        return np.asarray(self.graph.search(goal, count).keys).astype(np.int64)

    def _bring_up_to_date(self) -> None:
        """Load the graph that is there, add the rows that it lacks, and keep it."""
        import numpy as np

        matrix = self.matrix
        if matrix.folder is None:
            have = 0
        else:
            head = matrix.folder / f"{matrix.name}-{matrix.generation}.ann.json"
            have = self._load(head)
        missing = np.arange(have, len(matrix.vectors))
        if len(missing):
            self.graph.add(missing, matrix.vectors[have:])
            if matrix.folder is not None:
                self._save(head, len(matrix.vectors))

    def _load(self, head: Path) -> int:
        """How many rows the saved graph has; 0 where there is none that fits."""
        try:
            said = json.loads(head.read_text("utf-8"))
            if said["links"] == self.settings.links and said["rows"] <= len(self.matrix.vectors):
                self.graph.load(head.with_name(said["file"]))
                self.graph.expansion_add = self.settings.effort
                if len(self.graph) == said["rows"]:
                    return int(said["rows"])
                self.graph.clear()
        except (OSError, ValueError, KeyError, RuntimeError, TypeError):
            self.graph.clear()
        return 0

    def _save(self, head: Path, rows: int) -> None:
        """A new file, then the json that names it: a save that is cut short harms nothing."""
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
    """Offer `ann`."""
    return {"ann": Ann}
