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

from pixweave.component import Component, component_of
from pixweave.errors import MissingError, RunError
from pixweave.loading import Fault
from pixweave.search.index_store import Model, Store, open_store
from pixweave.search.indexing import Crew, update
from pixweave.search.matrix import Matrix, load_matrix
from pixweave.search.options import Tally, Wish
from pixweave.search.query import Bound, Filters, Hit, Query, Term

if TYPE_CHECKING:
    from pixweave.embedding.embedder import Encoder
    from pixweave.plugins import Plugins
    from pixweave.protocols import Searcher

    Array = np.ndarray[Any, Any]

CLOSE = 4e-6
"""Float32 scores nearer than this may be in the wrong order; they are computed again in float64."""


@dataclass
class SearchRun:
    """What a searcher's `build(run)` gets.

    `matrix.vectors` is float32 `[N, D]` of unit vectors, `matrix.folder` where it may keep files
    that begin with `matrix.name` (None: nowhere); `matrix.generation` and the number of rows say
    whether they are of this matrix.
    """

    matrix: Matrix


class Index:
    """An open index, as one encoder sees it; made by `open_index`, a context manager."""

    def __init__(
        self, store: Store, plugins: Plugins | None, perceptor: Any, device: str, searcher: Any
    ) -> None:
        self.store, self.plugins = store, plugins
        self._searcher = searcher
        self._perceptor, self._device = perceptor, device
        self._live: tuple[tuple[str, int], Searcher] | None = None
        self._said: dict[str, Array] = {}

    def __enter__(self) -> Index:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()

    @cached_property
    def encoder(self) -> Encoder:
        """The perceptor that was asked for, or that the index was made with."""
        from pixweave.embedding.embedder import Encoder, open_encoder

        named = self._perceptor
        if isinstance(named, Encoder):
            return named
        return open_encoder(self._offers, self.made_with if named is None else named, self._device)

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
    def _offers(self) -> Plugins:
        from pixweave.plugins import Plugins

        return self.plugins or Plugins.discover()

    def update(self, wish: Wish, stop: Callable[[], bool] = lambda: False) -> Iterator[Tally]:
        """Bring it up to date with files and folders; see `pixweave.search.indexing`."""
        if self.store.read_only:
            raise RunError(f"the index '{self.store.folder}' cannot be written to")
        return update(self.store, self.encoder, wish, stop, self._crew(wish))

    def _crew(self, wish: Wish) -> Crew | None:
        """Who does the work of a wish, if it names an executor."""
        from pixweave.embedding.embedder import entry_of
        from pixweave.workers.tasks import ExecutorRun

        if wish.executor is None:
            return None
        run: Any = ExecutorRun()
        part = component_of(self._offers, "executor", entry_of(wish.executor, "--executor"))
        return Crew(part.build(run), self._offers)

    @property
    def model(self) -> Model:
        """The model whose vectors are searched; MissingError if nothing was indexed with it."""
        identity = self.encoder.identity
        mine = [m for m in self.store.models() if m.identity == identity]
        if not mine:
            names = ", ".join(sorted({m.perceptor for m in self.store.models()}))
            raise MissingError(
                f"the index '{self.store.folder}' has no vectors of {self.encoder.part.use} with "
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
        where, values = (filters or Filters()).where(self.store.kept)
        found = self.store.db.execute(
            "SELECT f.path, v.id FROM files f JOIN contents c ON c.id = f.content "
            "JOIN vectors v ON v.content = c.id WHERE v.model = ?1 AND v.frame = (SELECT "
            "MIN(w.frame) FROM vectors w WHERE w.content = c.id AND w.model = ?1) AND " + where,
            [model.id, *values],
        )
        rows = {self.store.full(path): vector for path, vector in found}
        there = set(matrix.ids.tolist())  # another process may have added some since
        paths = sorted(path for path, vector in rows.items() if vector in there)
        at = np.searchsorted(matrix.ids, [rows[path] for path in paths])
        return paths, np.asarray(matrix.vectors[at.astype(np.int64)])

    def search_all(self, queries: Sequence[Query]) -> Iterator[list[Hit]]:
        """The hits of each query; their texts are encoded together, before the first."""
        self._say(term.what for query in queries for term in query.terms if not term.is_file)
        yield from map(self.search, queries)

    def _say(self, texts: Iterable[str]) -> None:
        """Take care that the vectors of these texts are known."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._said]
        if fresh:
            self._said |= zip(fresh, self.encoder.texts(fresh), strict=True)

    def vector(self, terms: Sequence[Term], model: Model) -> Array:
        """The unit vector `[D]` that the terms make, by their weights."""
        self._say(term.what for term in terms if not term.is_file)
        total = np.zeros(model.dim, np.float64)
        for term in terms:
            found = self._picture(term.what, model) if term.is_file else self._said[term.what]
            total += term.weight * found.astype(np.float64)
        length = np.linalg.norm(total)
        if length < 1e-6:
            raise RunError("the terms cancel out; give them other weights")
        return (total / length).astype(np.float32)

    def _picture(self, path: str, model: Model) -> Array:
        """The vector of a picture: the index's own, where it has it, else encoded now."""
        from pixweave.loading import Look, read_picture

        look = Look.of_key(model.look)
        seen: list[bytes] = []

        def is_known(digest: bytes) -> bool:
            seen.append(digest)
            return self.store.vectors_of(digest, model.id) is not None

        got = read_picture(os.path.expanduser(path), look, is_known)
        if isinstance(got, Fault):
            raise MissingError(f"'{path}' cannot be searched for: {got.reason}")
        if got.pixels is None:
            vectors = self.store.vectors_of(seen[0], model.id)
            assert vectors is not None
        else:
            vectors = self.encoder.encode_pictures(got.pixels)
        mean = vectors.astype(np.float64).mean(0)
        return np.asarray(mean / np.linalg.norm(mean))

    def _allowed(self, query: Query, matrix: Matrix, model: Model) -> Array | None:
        """The rows that filters and bounds leave, ascending; None: all of them."""
        rows = None
        if query.filters:
            where, values = query.filters.where(self.store.kept)
            found = self.store.db.execute(
                "SELECT v.id FROM files f JOIN contents c ON c.id = f.content "
                f"JOIN vectors v ON v.content = c.id WHERE v.model = ? AND {where}",
                [model.id, *values],
            )
            ids = np.fromiter((row[0] for row in found), np.int64)
            rows = matrix.rows_of(np.unique(ids))
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
                hits = _grouped(hits, self._vectors(hits, matrix, model), query.group)
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
        where, values = query.filters.where(self.store.kept)
        place = {int(id_): i for i, id_ in enumerate(matrix.ids[rows])}
        best: dict[int, Hit] = {}
        ids = list(place)
        for start in range(0, len(ids), 500):
            part = ids[start : start + 500]
            found = self.store.db.execute(
                "SELECT v.id, v.frame, f.id, f.path, f.size, COALESCE(c.taken, f.mtime_ns / 1e9), "
                "c.width, c.height, c.format FROM vectors v JOIN contents c ON c.id = v.content "
                f"JOIN files f ON f.content = c.id WHERE v.id IN ({','.join('?' * len(part))}) "
                f"AND {where}",
                [*part, *values],
            )
            for vector, frame, id_, path, size, date, width, height, kind in found:
                score = None if scores is None else float(scores[place[vector]])
                before = best.get(id_)
                if before is None or (score is not None and (before.score or 0) < score):
                    best[id_] = Hit(self.store.full(path), score, width, height, kind, size,
                                    date, frame, id_)  # fmt: skip
        return list(best.values())

    def _above(self, query: Query, hits: list[Hit], matrix: Matrix, goal: Array) -> list[Hit]:
        """Without those that the cut-offs drop."""
        floor = -2.0 if query.least is None else query.least
        if query.cut is not None and hits:
            mean = float((matrix.vectors @ goal).mean())
            floor = max(floor, mean + query.cut * ((hits[0].score or 0.0) - mean))
        return [hit for hit in hits if (hit.score or 0.0) >= floor - 1e-12]

    def _vectors(self, hits: list[Hit], matrix: Matrix, model: Model) -> Array:
        """The vector of each hit `[N, D]`."""
        found = {}
        for hit in hits:
            row = self.store.db.execute(
                "SELECT v.id FROM vectors v JOIN files f ON f.content = v.content "
                "WHERE f.id = ? AND v.model = ? AND v.frame = ?",
                (hit.id, model.id, hit.frame),
            ).fetchone()
            found[hit.id] = row[0]
        rows = np.searchsorted(matrix.ids, [found[hit.id] for hit in hits])
        return np.asarray(matrix.vectors[rows.astype(np.int64)])

    def searcher(self, matrix: Matrix) -> Searcher:
        """The live searcher over a matrix; kept as long as the matrix stays the same."""
        state = (matrix.generation, len(matrix.ids))
        if self._live is None or self._live[0] != state or matrix.generation == "memory":
            from pixweave.embedding.embedder import entry_of

            run: Any = SearchRun(matrix)
            made = self._searcher
            if not isinstance(made, Component):
                made = component_of(self._offers, "searcher", entry_of(made, "--searcher"))
            self._live = (state, made.build(run))
        return self._live[1]


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
    from pixweave.models import home

    named = os.environ.get("PIXWEAVE_INDEX")
    return Path(named).expanduser() if named else home() / "index"


def open_index(
    folder: str | Path | None = None,
    perceptor: str | dict[str, Any] | Encoder | None = None,
    make: bool = False,
    device: str = "auto",
    searcher: str | dict[str, Any] | Component = "exact",
    plugins: Plugins | None = None,
) -> Index:
    """The index in a folder (by default the user's own one), as a perceptor sees it.

    Without a perceptor it is the one that the index was made with, `tiny` for a new one. `make`
    creates the index if it is not there; an Encoder has a device of its own. Raises MissingError
    and RunError as `open_store` does.
    """
    store = open_store(folder or default_folder(), make)
    return Index(store, plugins, perceptor, device, searcher)
