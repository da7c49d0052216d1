"""Index: an open image index, and the search from a query to hits."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pixweave.borders.guard import Guard
from pixweave.borders.process_state import EVERYTHING
from pixweave.borders.wording import missing_from
from pixweave.component import Component
from pixweave.embedding.embedder import Embedder
from pixweave.engine.embedders import open_embedder
from pixweave.errors import MissingError, PartError, RunError
from pixweave.loading import Preprocessing, UnreadableImage, decode_image
from pixweave.models import home
from pixweave.plugins import Plugins, installed_plugins
from pixweave.recipe.part_text import part_entry
from pixweave.search.checked_searcher import CheckedSearcher
from pixweave.search.hits import Hits
from pixweave.search.index_queries import hits_of, vector_ids, vectors_by_path
from pixweave.search.index_store import Model, Store, open_index_store
from pixweave.search.matrix import Matrix, load_matrix
from pixweave.search.options import IndexOptions, IndexProgress
from pixweave.search.query import Bound, Filters, Hit, Query, Term

if TYPE_CHECKING:
    from pixweave.protocols import Searcher
    from pixweave.search.indexing import WorkerPool

    Array = np.ndarray[Any, Any]

CLOSE = 4e-6
"""Float32 scores that differ by less may be in the wrong order; float64 decides."""


@dataclass
class SearchContext:
    """What a searcher's `build(run)` gets.

    `matrix.vectors` are unit vectors, float32 `[N, D]`. The searcher may store files whose names
    begin with `matrix.name` in `matrix.folder` (None: it may not); `matrix.generation` and the
    number of rows tell whether such files are up to date.
    """

    matrix: Matrix


class Index:
    """An open index for one embedder; made by `open_index`, a context manager."""

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
        self.close()

    def close(self) -> None:
        """Close the database."""
        self.store.close()

    @cached_property
    def embedder(self) -> Embedder:
        """The embedder of the requested perceptor, or of the one that the index was made with."""
        requested = self._perceptor
        if isinstance(requested, Embedder):
            return requested
        perceptor = self.made_with if requested is None else requested
        return open_embedder(self._plugins, perceptor, self._device)

    @property
    def made_with(self) -> Any:
        """The perceptor that it was made with, as in a recipe; `tiny` for a new index.

        RunError if the index has vectors of several perceptors.
        """
        used = self.store.models()
        kinds = {m.identity: m for m in used}
        if len(kinds) > 1:
            names = ", ".join(m.perceptor for m in kinds.values())
            raise RunError(
                f"the index '{self.store.folder}' has vectors of several perceptors; choose "
                f"one with --perceptor: {names}"
            )
        return json.loads(used[0].perceptor) if used else "tiny"

    @cached_property
    def _plugins(self) -> Plugins:
        return self.plugins or installed_plugins()

    def add(self, *inputs: str | os.PathLike[str]) -> IndexProgress:
        """Index files, folders and globs, only what is new or changed; returns what was done."""
        progress = IndexProgress()
        for progress in self.update(IndexOptions(inputs)):  # noqa: B007 - the last is the result
            pass
        return progress

    def update(
        self, options: IndexOptions, stop: Callable[[], bool] = lambda: False
    ) -> Iterator[IndexProgress]:
        """Update the index from files and folders; see `pixweave.search.indexing`."""
        if self.store.read_only:
            raise RunError(f"the index '{self.store.folder}' is read-only")
        from pixweave.search.indexing import update

        return update(self.store, self.embedder, options, stop, self._pool(options))

    def _pool(self, options: IndexOptions) -> WorkerPool | None:
        """The worker pool of the options' executor, None without one."""
        if options.executor is None:
            return None
        from pixweave.search.indexing import WorkerPool
        from pixweave.workers.tasks import ExecutorContext

        run: Any = ExecutorContext()
        entry = part_entry(options.executor, "--executor")
        part, name = self._plugins.named_component("executor", entry)
        with Guard(name, may_change=EVERYTHING):  # it starts processes
            executor = part.build(run)
        if fault := missing_from(executor, ["run", "info"]):
            raise PartError(name, fault)
        return WorkerPool(executor, self._plugins, name)

    @property
    def model(self) -> Model:
        """The model whose vectors are searched; MissingError if the index has none of it."""
        identity = self.embedder.identity
        matching = [m for m in self.store.models() if m.identity == identity]
        if not matching:
            _ = self.embedder.recipe  # RecipeError if the perceptor itself is invalid
            names = ", ".join(sorted({m.perceptor for m in self.store.models()}))
            raise MissingError(
                f"the index '{self.store.folder}' has no vectors of {self.embedder.part.use} with "
                f"these weights ({identity}); it has vectors of {names or 'no perceptor'}: "
                "index the images again, or use a perceptor of the index"
            )
        return max(matching, key=lambda m: (m.count, m.id))

    def matrix(self) -> Matrix:
        """All current vectors of the model."""
        return load_matrix(self.store, self.model)

    def search(self, query: str | Query, top: int = 20) -> Hits:
        """The hits of a query, in its order; of a text, the `top` images that fit it best.

        index.search("a red boat", top=5)
        """
        if isinstance(query, str):
            query = Query([Term(query)], top=top)
        model, matrix = self.model, self.matrix()
        goal = self.vector(query.terms, model) if query.terms else None
        allowed = self._allowed(query, matrix, model)
        if goal is None:
            hits = self._listed(query, matrix, model, allowed)
        else:
            hits = self._ranked(query, matrix, model, goal, allowed)
        if query.sort != "score":
            hits.sort(key=_ORDERS[query.sort])
        return Hits(hits[::-1] if query.reverse else hits)

    def pictures(self, filters: Filters | None = None) -> tuple[list[str], Array]:
        """The paths of the files that match the filters, sorted, and their vectors.

        The vectors are float32 `[N, D]`; of animated files that of the first frame.
        """
        model, matrix = self.model, self.matrix()
        rows = vectors_by_path(self.store, model, filters or Filters())
        ids = set(matrix.ids.tolist())  # another process may have added vectors since
        paths = sorted(path for path, vector in rows.items() if vector in ids)
        positions = np.searchsorted(matrix.ids, [rows[path] for path in paths])
        return paths, np.asarray(matrix.vectors[positions.astype(np.int64)])

    def search_all(self, queries: Sequence[Query]) -> Iterator[Hits]:
        """The hits of each query; all their texts are encoded together before the first search."""
        self._encode_texts(
            term.what for query in queries for term in query.terms if not term.is_file
        )
        yield from map(self.search, queries)

    def _encode_texts(self, texts: Iterable[str]) -> None:
        """Encode the texts whose vectors are not known yet."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._text_vectors]
        if missing:
            self._text_vectors |= zip(missing, self.embedder.texts(missing), strict=True)

    def vector(self, terms: Sequence[Term], model: Model) -> Array:
        """The unit vector `[D]` of the weighted sum of the terms; RunError if they cancel out."""
        self._encode_texts(term.what for term in terms if not term.is_file)
        total = np.zeros(model.dim, np.float64)
        for term in terms:
            if term.is_file:
                vector = self._image_vector(term.what, model)
            else:
                vector = self._text_vectors[term.what]
            total += term.weight * vector.astype(np.float64)
        length = np.linalg.norm(total)
        if length < 1e-6:
            raise RunError("the terms cancel each other out; use other weights")
        return (total / length).astype(np.float32)

    def _image_vector(self, path: str, model: Model) -> Array:
        """The vector of an image file: from the index if it has it, else encoded now."""
        preprocessing = Preprocessing.of_key(model.preprocessing)
        digests: list[bytes] = []

        def is_known(digest: bytes) -> bool:
            digests.append(digest)
            return self.store.vectors_of(digest, model.id) is not None

        image = decode_image(os.path.expanduser(path), preprocessing, is_known)
        if isinstance(image, UnreadableImage):
            raise MissingError(f"'{path}' cannot be used as a query: {image.reason}")
        if image.pixels is None:
            vectors = self.store.vectors_of(digests[0], model.id)
            assert vectors is not None
        else:
            vectors = self.embedder.encode_pictures(image.pixels)
        mean = vectors.astype(np.float64).mean(0)
        return np.asarray(mean / np.linalg.norm(mean))

    def _allowed(self, query: Query, matrix: Matrix, model: Model) -> Array | None:
        """The rows that match filters and bounds, ascending; None: all of them."""
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
        standard = (scores - scores.mean()) / max(float(spread), 1e-9) if len(scores) else scores
        kept = standard < bound.least if bound.below else standard >= bound.least
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
        available = len(matrix.ids) if allowed is None else len(allowed)
        count = 2 * wanted + 16
        while True:
            rows, exact = self._candidates(matrix, goal, count, allowed)
            hits = self._hits(query, matrix, model, rows, exact)
            hits.sort(key=lambda h: (-(h.score or 0.0), h.id))
            hits = self._above(query, hits, matrix, goal)
            if query.group is not None:
                hits = _grouped(hits, self._vectors(hits, matrix), query.group)
            if len(hits) >= wanted or len(rows) >= available or count >= available:
                return hits[query.skip : wanted]
            count *= 4

    def _candidates(
        self, matrix: Matrix, goal: Array, count: int, allowed: Array | None
    ) -> tuple[Array, Array]:
        """At least the `count` best rows and their float64 scores, equal for equal rows."""
        rows, _ = self.searcher(matrix).search(goal, count, allowed)
        rows = np.asarray(rows)
        # summed row by row: a matrix product may round equal rows differently
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
        """The files of these rows, each with its best row, unordered."""
        position = {int(id_): i for i, id_ in enumerate(matrix.ids[rows])}
        best: dict[int, Hit] = {}
        for hit in hits_of(self.store, list(position), query.filters):
            if scores is not None:
                hit = replace(hit, score=float(scores[position[hit.vector]]))
            before = best.get(hit.id)
            if before is None or (hit.score is not None and (before.score or 0) < hit.score):
                best[hit.id] = hit
        return list(best.values())

    def _above(self, query: Query, hits: list[Hit], matrix: Matrix, goal: Array) -> list[Hit]:
        """The hits that pass the cut-offs."""
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
        """The searcher instance for a matrix; reused while the matrix is unchanged."""
        state = (matrix.generation, len(matrix.ids))
        if self._instance is None or self._instance[0] != state or matrix.generation == "memory":
            run: Any = SearchContext(matrix)
            searcher, name = self._searcher, "the searcher"
            if not isinstance(searcher, Component):
                entry = part_entry(searcher, "--searcher")
                searcher, name = self._plugins.named_component("searcher", entry)
            with Guard(name):
                built = searcher.build(run)
            self._instance = (state, CheckedSearcher(name, built, len(matrix.ids)))
        return self._instance[1]


_ORDERS: dict[str, Callable[[Hit], Any]] = {
    "path": lambda hit: hit.path,
    "date": lambda hit: (-hit.date, hit.path),
    "size": lambda hit: (-hit.size, hit.path),
}
"""Sort keys of hits: paths in ascending order, the newest or the largest first."""


def _grouped(hits: list[Hit], vectors: Array, near: float) -> list[Hit]:
    """The best hit of each group of near-duplicates, with the others as its `like`."""
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
    """PIXWEAVE_INDEX, or the folder `index` in pixweave's cache folder."""
    folder = os.environ.get("PIXWEAVE_INDEX")
    return Path(folder).expanduser() if folder else home() / "index"


def open_index(
    folder: str | Path | None = None,
    perceptor: str | dict[str, Any] | Embedder | None = None,
    make: bool = False,
    device: str = "auto",
    searcher: str | dict[str, Any] | Component = "exact",
    plugins: Plugins | None = None,
) -> Index:
    """Open the index in a folder, by default `default_folder()`, for a perceptor.

    The default perceptor is the one that the index was made with, `tiny` for a new index. `make`
    creates the index if it does not exist; an Embedder ignores `device`. Raises MissingError and
    RunError like `open_index_store`.

        with open_index("photos.index", make=True) as index:
            index.add("photos")
            hits = index.search("a red boat", top=5)
    """
    store = open_index_store(folder or default_folder(), make)
    return Index(store, plugins, perceptor, device, searcher)
