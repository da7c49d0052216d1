"""Stage `search`: pictures of an index, of folders or of the run, found by a query."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pixweave import Component, Field, Issue, Part, PartOf
from pixweave.recipe.path_types import Inputs, PageName, SheetName, TableName
from pixweave.search.search_settings import (
    Bytes,
    Day,
    FolderPath,
    Folders,
    Pictures,
    Terms,
    Texts,
)
from pixweave_stages.index_stage import check_perceptor, fill_index, stage_embedder
from pixweave_stages.stage_inputs import no_pictures

if TYPE_CHECKING:
    from pixweave.component import RecipeInfo
    from pixweave.events import Event
    from pixweave.pipeline.stage_runner import StageContext
    from pixweave.search import Hit, Query

ONLY_FIRST = {
    "index": "it searches the pictures of the stage before it",
    "tag": "the pictures of the stage before it have no tags",
}
"""Settings that mean nothing in a later stage, and why."""


class SearchStage(Component):
    """Find pictures by texts, by pictures, or by both; those that were found go on, best first.

    A first stage searches an index, brought up to date from `input` if that is there; a later one
    the pictures that it was left.
    """

    can: ClassVar[frozenset[str]] = frozenset({"input_optional"})

    index: FolderPath | None = Field(
        None, description="folder of the index; in a first stage; else one for this search alone"
    )
    input: Inputs = Field(
        (), description="files, folders, patterns to bring the index up to date; in a first stage"
    )
    query: Terms = Field((), description="texts, or mappings of a text or an image and a weight")
    like: Pictures = Field((), description="pictures like these: short for images in the query")
    minus: Texts = Field((), description="texts to move away from: short for a weight of -0.5")
    without: Texts = Field((), description="drop the pictures that clearly show these texts")
    not_above: float = Field(
        1.5, description="what is clearly: standard deviations above the mean of all pictures"
    )
    label: dict[str, float] = Field(
        default_factory=dict, description="keep the pictures that show a text at least so clearly"
    )
    under: Folders = Field((), description="only below these folders")
    name: Texts = Field((), description="only files or paths named like these patterns")
    since: Day | None = Field(None, description="only taken on this day or later")
    until: Day | None = Field(None, description="only taken before this day")
    min_bytes: Bytes | None = Field(None, description="only files of at least this size")
    max_bytes: Bytes | None = Field(None, description="only files of at most this size")
    min_side: int | None = Field(None, ge=1, description="only with a short side of so many pixels")
    type: Texts = Field((), description="only files of these kinds: jpeg, png, gif...")
    tag: Texts = Field((), description="only with these tags")
    top: int = Field(20, ge=1, description="how many to find")
    skip: int = Field(0, ge=0, description="leave the first ones out")
    cut: float | None = Field(
        None,
        ge=0,
        le=1,
        description="keep results at least this fraction of the way from the mean score to the "
        "best one",
    )
    min_score: float | None = Field(None, description="minimum cosine similarity")
    group: float | None = Field(
        None, ge=0, le=1, description="one of each group of near-duplicates (0.95)"
    )
    sort: Literal["score", "path", "date", "size"] = Field(
        "score", description="order of what was found"
    )
    reverse: bool = Field(False, description="reverse the order")
    file: TableName = Field("results.csv", description="table of places and scores")
    sheet: SheetName | None = Field(None, description="also write a contact sheet")
    html: PageName | None = Field(None, description="also write a page with the pictures in it")
    searcher: Part = PartOf(
        "searcher", default="exact", description="what finds the nearest vectors"
    )
    perceptors: tuple[Part, ...] = PartOf(
        "perceptor",
        many=True,
        default=None,
        description="what understands the pictures; by default the recipe's",
    )

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """A first search has an index or pictures, a later one neither."""
        from pixweave.search import is_index

        yield from check_perceptor(self.perceptors, recipe)
        if recipe.stage_number(self):
            for key, why in ONLY_FIRST.items():
                if getattr(self, key):
                    yield Issue(key, f"'{key}' is not used: {why}", "remove it")
        elif not self.index and not self.input:
            yield Issue(
                "",
                "it comes first and has no pictures",
                "add 'index: DIR' of an index, 'input: [photos/]', or a stage 'generate' before it",
            )
        elif self.index and not self.input and not is_index(self.index):
            yield Issue(
                "index",
                f"there is no index in '{self.index}'",
                "make it with `pixweave index`, or add 'input: [photos/]'",
            )

    def asked(self) -> Query:
        """The query of the command that has these options; `--in` is `under`, `--not` `without`."""
        from pixweave.search.query import day, make_query

        texts = [(term.weight, term.text) for term in self.query if term.text is not None]
        images = [(term.weight, str(term.image)) for term in self.query if term.image is not None]
        return make_query(
            like=[str(path) for path in self.like],
            terms=texts,
            images=images,
            minus=self.minus,
            nots=self.without,
            not_above=self.not_above,
            labels=[*self.label.items()],
            under=self.under,
            name=self.name,
            since=self.since and day(self.since),
            until=self.until and day(self.until),
            min_bytes=self.min_bytes,
            max_bytes=self.max_bytes,
            min_side=self.min_side,
            types=self.type,
            tags=self.tag,
            top=self.top,
            skip=self.skip,
            cut=self.cut,
            least=self.min_score,
            group=self.group,
            sort=self.sort,
            reverse=self.reverse,
        )

    def build(self, run: StageContext) -> Any:
        """A function that searches once."""
        from pixweave.events import Event
        from pixweave.search import open_index

        query = self.asked()

        def search(came: Sequence[str]) -> Generator[Event, None, list[str]]:
            inputs = came or self.input
            if not inputs and not self.index:
                raise no_pictures(run.part)
            embedder = stage_embedder(run, self.perceptors)
            with (
                _folder(self.index) as folder,
                open_index(
                    folder, embedder, bool(inputs), searcher=self.searcher.settings
                ) as index,
            ):
                if inputs:
                    yield from fill_index(run, index, inputs)
                if run.stop():
                    return list(came)
                if not index.store.counts()[0]:
                    raise no_pictures(run.part)
                hits = index.search(query)
            given = {os.path.abspath(path): path for path in came}
            pictures = [given.get(hit.path, hit.path) for hit in hits]
            rows = [
                _row(place, hit, run.relative(path), query)
                for place, (hit, path) in enumerate(zip(hits, pictures, strict=True), 1)
            ]
            run.save_table(self.file, rows, list(rows[0]) if rows else ["place", "score", "path"])
            self._write_pages(run, hits, query.title)
            yield Event("searched", {"rows": rows, "kept": len(hits)})
            return pictures

        return search

    def _write_pages(self, run: StageContext, hits: Sequence[Hit], title: str) -> None:
        from pixweave.search.contact_sheet import write_page, write_sheet

        if self.sheet:
            write_sheet(hits, run.output(self.sheet))
        if self.html:
            write_page(hits, run.output(self.html), title)


@contextmanager
def _folder(named: str | None) -> Iterator[Path]:
    """The folder of the index; where none is named, one that is gone afterwards."""
    if named is not None:
        yield Path(named)
        return
    with TemporaryDirectory(prefix="pixweave-") as made:
        yield Path(made)


def _row(place: int, hit: Hit, path: str, query: Query) -> dict[str, Any]:
    """A hit as a row of the table; near-duplicates are counted where they are grouped."""
    plain = {**hit.plain(), "path": path}
    columns = ("score", "path", "width", "height", "format", "bytes", "date")
    grouped = {} if query.group is None else {"like": len(hit.like)}
    return {"place": place, **{name: plain[name] for name in columns}, **grouped}
