"""Index: a store, the searcher over its matrix, and the way from a query to hits."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pixweave.component import Component
from pixweave.embedding.embedder import Embedder
from pixweave.engine.embedders import open_embedder
from pixweave.errors import MissingError, RunError
from pixweave.loading import Preprocessing, UnreadableImage, decode_image
from pixweave.models import home
from pixweave.plugins import Plugins
from pixweave.recipe.part_text import part_entry
from pixweave.search.index_queries import hits_of, vector_ids, vectors_by_path
from pixweave.search.index_store import Model, Store, open_index_store
from pixweave.search.indexing import WorkerPool, update
from pixweave.search.matrix import Matrix, load_matrix
from pixweave.search.options import IndexOptions, IndexProgress
from pixweave.search.query import Bound, Filters, Hit, Query, Term
from pixweave.workers.tasks import ExecutorContext

if TYPE_CHECKING:
    from pixweave.protocols import Searcher

    Array = np.ndarray[Any, Any]

CLOSE = 4e-6
"""Float32 scores nearer than this may be in the wrong order; they are computed again in float64."""


@dataclass
class SearchContext:
    """What a searcher's `build(run)` gets.

    `matrix.vectors` is float32 `[N, D]` of unit vectors, `matrix.folder` where it may keep files
    that begin with `matrix.name` (None: nowhere); `matrix.generation` and the number of rows say
    whether they are of this matrix.
    """

    matrix: Matrix


class Index:
    """An open index, as one embedder sees it; made by `open_index`, a context manager."""

    def __init__(
        self, store: Store, plugins: Plugins | None, perceptor: Any, device: str, searcher: Any
    ) -> None:
        self.store, self.plugins = store, plugins
        self._searcher = searcher
        self._perceptor, self._device = perceptor, device
        self._instance: tuple[tuple[str, int], Searcher] | None = None
        self._text_vectors: dict[str, Array] = {}

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()

    @cached_property
    def embedder(self) -> Embedder:
        """The perceptor that was asked for, or that the index was made with."""
        named = self._perceptor
        if isinstance(named, Embedder):
            return named
        return open_embedder(
            self._plugins, self.made_with if named is None else named, self._device
        )

    @property
    def made_with(self) -> Any:
        """The perceptor that it was made with, as a recipe writes it; `tiny` for a new one."""
        used = self.store.models()
        kinds = {m.identity: m for m in used}
        if len(kinds) > 1:
            names = ", ".join(m.perceptor for m in kinds.values())
            raise RunError(
                f"the index '{self.store.folder}' holds vectors of several perceptors; choose "
                f"one with --perceptor: {names}"
            )
        return json.loads(used[0].perceptor) if used else "tiny"

    @cached_property
    def _plugins(self) -> Plugins:
        return self.plugins or Plugins.discover()

    def update(
        self, options: IndexOptions, stop: Callable[[], bool] = lambda: False
    ) -> Iterator[IndexProgress]:
        """Bring it up to date with files and folders; see `pixweave.search.indexing`."""
        if self.store.read_only:
            raise RunError(f"the index '{self.store.folder}' cannot be written to")
        return update(self.store, self.embedder, options, stop, self._pool(options))

    def _pool(self, options: IndexOptions) -> WorkerPool | None:
        """Who does the work of these options, if it names an executor."""
        if options.executor is None:
            return None
        run: Any = ExecutorContext()
        part = self._plugins.component("executor", part_entry(options.executor, "--executor"))
        return WorkerPool(part.build(run), self._plugins)

    @property
    def model(self) -> Model:
        """The model whose vectors are searched; MissingError if nothing was indexed with it."""
        identity = self.embedder.identity
        mine = [m for m in self.store.models() if m.identity == identity]
        if not mine:
            names = ", ".join(sorted({m.perceptor for m in self.store.models()}))
            raise MissingError(
                f"the index '{self.store.folder}' has no vectors of {self.embedder.part.use} with "
                f"these weights ({identity}); it has {names or 'none at all'}: "
                "index again with it, or use the perceptor that it has"
            )
        return max(mine, key=lambda m: (m.count, m.id))

    def matrix(self) -> Matrix:
        """All vectors of the model, as they are now."""
        return load_matrix(self.store, self.model)

    def search(self, query: Query) -> list[Hit]:
        """The hits, in the order asked for."""
        model, matrix = self.model, self.matrix()
        goal = self.vector(query.terms, model) if query.terms else None
        allowed = self._allowed(query, matrix, model)
        if goal is None:
            hits = self._listed(query, matrix, model, allowed)
        else:
            hits = self._ranked(query, matrix, model, goal, allowed)
        if query.sort != "score":
            hits.sort(key=_ORDERS[query.sort])
        return hits[::-1] if query.reverse else hits

    def pictures(self, filters: Filters | None = None) -> tuple[list[str], Array]:
        """Every file that the filters keep, by its path, and its vector: float32 `[N, D]`.

        That of its first picture, where it has several.
        """
        model, matrix = self.model, self.matrix()
        rows = vectors_by_path(self.store, model, filters or Filters())
        there = set(matrix.ids.tolist())  # another process may have added some since
        paths = sorted(path for path, vector in rows.items() if vector in there)
        at = np.searchsorted(matrix.ids, [rows[path] for path in paths])
        return paths, np.asarray(matrix.vectors[at.astype(np.int64)])

    def search_all(self, queries: Sequence[Query]) -> Iterator[list[Hit]]:
        """The hits of each query; their texts are encoded together, before the first."""
        self._encode_texts(
            term.what for query in queries for term in query.terms if not term.is_file
        )
        yield from map(self.search, queries)

    def _encode_texts(self, texts: Iterable[str]) -> None:
        """Take care that the vectors of these texts are known."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._text_vectors]
        if fresh:
            self._text_vectors |= zip(fresh, self.embedder.texts(fresh), strict=True)

    def vector(self, terms: Sequence[Term], model: Model) -> Array:
        """The unit vector `[D]` that the terms make, by their weights."""
        self._encode_texts(term.what for term in terms if not term.is_file)
        total = np.zeros(model.dim, np.float64)
        for term in terms:
            found = (
                self._picture(term.what, model) if term.is_file else self._text_vectors[term.what]
            )
            total += term.weight * found.astype(np.float64)
        length = np.linalg.norm(total)
        if length < 1e-6:
            raise RunError("the terms cancel out; give them other weights")
        return (total / length).astype(np.float32)

    def _picture(self, path: str, model: Model) -> Array:
        """The vector of a picture: the index's own, where it has it, else encoded now."""
        preprocessing = Preprocessing.of_key(model.preprocessing)
        seen: list[bytes] = []

        def is_known(digest: bytes) -> bool:
            seen.append(digest)
            return self.store.vectors_of(digest, model.id) is not None

        got = decode_image(os.path.expanduser(path), preprocessing, is_known)
        if isinstance(got, UnreadableImage):
            raise MissingError(f"'{path}' cannot be searched for: {got.reason}")
        if got.pixels is None:
            vectors = self.store.vectors_of(seen[0], model.id)
            assert vectors is not None
        else:
            vectors = self.embedder.encode_pictures(got.pixels)
        mean = vectors.astype(np.float64).mean(0)
        return np.asarray(mean / np.linalg.norm(mean))

    def _allowed(self, query: Query, matrix: Matrix, model: Model) -> Array | None:
        """The rows that filters and bounds leave, ascending; None: all of them."""
        rows = None
        if query.filters:
            rows = matrix.rows_of(vector_ids(self.store, model, query.filters))
        for bound in query.bounds:
            kept = self._within(bound, matrix, model)
            rows = kept if rows is None else rows[np.isin(rows, kept)]
        return rows

    def _within(self, bound: Bound, matrix: Matrix, model: Model) -> Array:
        scores = matrix.vectors @ self.vector([Term(bound.text)], model)
        spread = scores.std() if len(scores) else 1.0
        clear = (scores - scores.mean()) / max(float(spread), 1e-9) if len(scores) else scores
        kept = clear < bound.least if bound.below else clear >= bound.least
        return np.flatnonzero(kept)

    def _listed(
        self, query: Query, matrix: Matrix, model: Model, allowed: Array | None
    ) -> list[Hit]:
        rows = np.arange(len(matrix.ids)) if allowed is None else allowed
        hits = self._hits(query, matrix, model, rows, None)
        hits.sort(key=lambda h: h.path)
        return hits[query.skip : query.skip + query.top]

    def _ranked(
        self, query: Query, matrix: Matrix, model: Model, goal: Array, allowed: Array | None
    ) -> list[Hit]:
        wanted = query.skip + query.top
        rows_there = len(matrix.ids) if allowed is None else len(allowed)
        count = 2 * wanted + 16
        while True:
            rows, exact = self._candidates(matrix, goal, count, allowed)
            hits = self._hits(query, matrix, model, rows, exact)
            hits.sort(key=lambda h: (-(h.score or 0.0), h.id))
            hits = self._above(query, hits, matrix, goal)
            if query.group is not None:
                hits = _grouped(hits, self._vectors(hits, matrix), query.group)
            if len(hits) >= wanted or len(rows) >= rows_there or count >= rows_there:
                return hits[query.skip : wanted]
            count *= 4

    def _candidates(
        self, matrix: Matrix, goal: Array, count: int, allowed: Array | None
    ) -> tuple[Array, Array]:
        """At least the `count` best rows, and their scores in float64, equal for equal rows."""
        rows, _ = self.searcher(matrix).search(goal, count, allowed)
        rows = np.asarray(rows)
        # summed row by row: a product of matrices may round equal rows differently
        exact = np.concatenate(
            [np.empty(0)]
            + [
                (matrix.vectors[part].astype(np.float64) * goal.astype(np.float64)).sum(1)
                for part in np.array_split(rows, max(1, len(rows) // 4096))
            ]
        )
        return rows, exact

    def _hits(
        self, query: Query, matrix: Matrix, model: Model, rows: Array, scores: Array | None
    ) -> list[Hit]:
        """The files that these rows stand for, each with its best row, in no order."""
        place = {int(id_): i for i, id_ in enumerate(matrix.ids[rows])}
        best: dict[int, Hit] = {}
        for hit in hits_of(self.store, list(place), query.filters):
            if scores is not None:
                hit = replace(hit, score=float(scores[place[hit.vector]]))
            before = best.get(hit.id)
            if before is None or (hit.score is not None and (before.score or 0) < hit.score):
                best[hit.id] = hit
        return list(best.values())

    def _above(self, query: Query, hits: list[Hit], matrix: Matrix, goal: Array) -> list[Hit]:
        """Without those that the cut-offs drop."""
        floor = -2.0 if query.least is None else query.least
        if query.cut is not None and hits:
            mean = float((matrix.vectors @ goal).mean())
            floor = max(floor, mean + query.cut * ((hits[0].score or 0.0) - mean))
        return [hit for hit in hits if (hit.score or 0.0) >= floor - 1e-12]

    def _vectors(self, hits: list[Hit], matrix: Matrix) -> Array:
        """The vector of each hit `[N, D]`."""
        rows = np.searchsorted(matrix.ids, [hit.vector for hit in hits])
        return np.asarray(matrix.vectors[rows.astype(np.int64)])

    def searcher(self, matrix: Matrix) -> Searcher:
        """The live searcher over a matrix; kept as long as the matrix stays the same."""
        state = (matrix.generation, len(matrix.ids))
        if self._instance is None or self._instance[0] != state or matrix.generation == "memory":
            run: Any = SearchContext(matrix)
            made = self._searcher
            if not isinstance(made, Component):
                made = self._plugins.component("searcher", part_entry(made, "--searcher"))
            self._instance = (state, made.build(run))
        return self._instance[1]


_ORDERS: dict[str, Callable[[Hit], Any]] = {
    "path": lambda hit: hit.path,
    "date": lambda hit: (-hit.date, hit.path),
    "size": lambda hit: (-hit.size, hit.path),
}
"""How hits are sorted: names from A to Z, the newest and the largest first."""


def _grouped(hits: list[Hit], vectors: Array, near: float) -> list[Hit]:
    """The best of each group of hits that are `near`, with the others as its `like`."""
    heads: list[int] = []
    like: dict[int, list[Hit]] = {}
    for i, hit in enumerate(hits):
        close = vectors[heads] @ vectors[i] if heads else np.empty(0)
        if len(close) and close.max() >= near:
            like[heads[int(close.argmax())]].append(hit)
        else:
            heads.append(i)
            like[i] = []
    return [replace(hits[i], like=tuple(like[i])) for i in heads]


def default_folder() -> Path:
    """PIXWEAVE_INDEX, or the folder `index` among pixweave's own files."""
    named = os.environ.get("PIXWEAVE_INDEX")
    return Path(named).expanduser() if named else home() / "index"


def open_index(
    folder: str | Path | None = None,
    perceptor: str | dict[str, Any] | Embedder | None = None,
    make: bool = False,
    device: str = "auto",
    searcher: str | dict[str, Any] | Component = "exact",
    plugins: Plugins | None = None,
) -> Index:
    """The index in a folder (by default the user's own one), as a perceptor sees it.

    Without a perceptor it is the one that the index was made with, `tiny` for a new one. `make`
    creates the index if it is not there; an Embedder has a device of its own. Raises MissingError
    and RunError as `open_index_store` does.
    """
    store = open_index_store(folder or default_folder(), make)
    return Index(store, plugins, perceptor, device, searcher)
