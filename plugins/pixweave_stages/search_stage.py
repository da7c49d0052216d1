"""Stage `search`: search the images of an index, of folders or of the run with a query."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
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
from pixweave_stages.stage_inputs import no_images

if TYPE_CHECKING:
    from pixweave.component import RecipeInfo
    from pixweave.events import Event
    from pixweave.pipeline.stage_runner import StageContext
    from pixweave.search import Hit, Query

ONLY_FIRST = {
    "index": "it searches the images of the previous stage",
    "tag": "the images of the previous stage have no tags",
}
"""Settings that apply to a first stage only, and why."""


class SearchStage(Component):
    """Search images by texts, by example images, or both; pass on the results, best first.

    As the first stage it searches an index, which it first updates from `input` if that is set;
    later in a recipe it searches the images of the previous stage.
    """

    example: ClassVar[Mapping[str, Any]] = {"query": ["a red boat"]}

    can: ClassVar[frozenset[str]] = frozenset({"input_optional"})

    index: FolderPath | None = Field(
        None,
        description="folder of the index (first stage only); by default a temporary index",
    )
    input: Inputs = Field(
        (), description="files, folders or patterns to update the index from (first stage only)"
    )
    query: Terms = Field((), description="texts, or mappings with a text or image and a weight")
    like: Pictures = Field((), description="example images: short for images in the query")
    minus: Texts = Field((), description="texts to search away from: short for a weight of -0.5")
    without: Texts = Field((), description="exclude images that clearly show these texts")
    not_above: float = Field(
        1.5,
        description="threshold of `without`, in standard deviations above the mean of all images",
    )
    label: dict[str, float] = Field(
        default_factory=dict,
        description="keep only images that show a text at least this clearly, in standard "
        "deviations above the mean",
    )
    under: Folders = Field((), description="only images below these folders")
    name: Texts = Field((), description="only images whose file name or path matches a pattern")
    since: Day | None = Field(None, description="only images taken on or after this day")
    until: Day | None = Field(None, description="only images taken before this day")
    min_bytes: Bytes | None = Field(None, description="only files of at least this size")
    max_bytes: Bytes | None = Field(None, description="only files of at most this size")
    min_side: int | None = Field(
        None, ge=1, description="only images whose short side has at least this many pixels"
    )
    type: Texts = Field((), description="only files of these formats: jpeg, png, gif...")
    tag: Texts = Field((), description="only images with these tags (first stage only)")
    top: int = Field(20, ge=1, description="number of results")
    skip: int = Field(0, ge=0, description="number of results to skip")
    cut: float | None = Field(
        None,
        ge=0,
        le=1,
        description="keep results at least this fraction of the way from the mean score to the "
        "best one",
    )
    min_score: float | None = Field(None, description="minimum cosine similarity")
    group: float | None = Field(
        None,
        ge=0,
        le=1,
        description="group near-duplicates with at least this cosine similarity, such as 0.95, and "
        "keep one per group",
    )
    sort: Literal["score", "path", "date", "size"] = Field(
        "score", description="sort order of the results"
    )
    reverse: bool = Field(False, description="reverse the order")
    file: TableName = Field("results.csv", description="table of ranks and scores")
    sheet: SheetName | None = Field(None, description="also write a contact sheet to this file")
    html: PageName | None = Field(
        None, description="also write an HTML page with the images embedded to this file"
    )
    searcher: Part = PartOf(
        "searcher", default="exact", description="searcher that finds the nearest vectors"
    )
    perceptors: tuple[Part, ...] = PartOf(
        "perceptor",
        many=True,
        default=None,
        description="perceptor that embeds images and texts; by default the recipe's first",
    )

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """A first stage needs an index or images; a later one uses those of the previous stage."""
        from pixweave.search import is_index

        yield from check_perceptor(self.perceptors, recipe)
        if recipe.stage_number(self):
            for key, why in ONLY_FIRST.items():
                if getattr(self, key):
                    yield Issue(key, f"'{key}' is not used: {why}", "remove it")
        elif not self.index and not self.input:
            yield Issue(
                "",
                "it is the first stage and has no images",
                "add 'index: DIR' of an index, 'input: [photos/]', or a stage 'generate' before it",
            )
        elif self.index and not self.input and not is_index(self.index):
            yield Issue(
                "index",
                f"there is no index in '{self.index}'",
                "create it with `pixweave index`, or add 'input: [photos/]'",
            )

    def to_query(self) -> Query:
        """The settings as a query, as `pixweave search` makes it from its options.

        `--in` is `under` here, and `--not` is `without`.
        """
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
        """The stage: a generator function that runs the search."""
        from pixweave.events import Event
        from pixweave.search import open_index

        query = self.to_query()

        def search(previous: Sequence[str]) -> Generator[Event, None, list[str]]:
            inputs = previous or self.input
            if not inputs and not self.index:
                raise no_images(run.part)
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
                    return list(previous)
                if not index.store.counts()[0]:
                    raise no_images(run.part)
                hits = index.search(query)
            paths = {os.path.abspath(path): path for path in previous}
            images = [paths.get(hit.path, hit.path) for hit in hits]
            rows = [
                _row(place, hit, run.relative(path), query)
                for place, (hit, path) in enumerate(zip(hits, images, strict=True), 1)
            ]
            run.save_table(self.file, rows, list(rows[0]) if rows else ["place", "score", "path"])
            self._write_pages(run, hits, query.title)
            yield Event("searched", {"rows": rows, "kept": len(hits)})
            return images

        return search

    def _write_pages(self, run: StageContext, hits: Sequence[Hit], title: str) -> None:
        from pixweave.search.contact_sheet import write_page, write_sheet

        if self.sheet:
            write_sheet(hits, run.output(self.sheet))
        if self.html:
            write_page(hits, run.output(self.html), title)


@contextmanager
def _folder(named: str | None) -> Iterator[Path]:
    """The folder of the index; if none is named, a temporary one that is deleted afterwards."""
    if named is not None:
        yield Path(named)
        return
    with TemporaryDirectory(prefix="pixweave-") as temporary:
        yield Path(temporary)


def _row(place: int, hit: Hit, path: str, query: Query) -> dict[str, Any]:
    """A hit as a row of the table, with the number of near-duplicates if they are grouped."""
    plain = {**hit.plain(), "path": path}
    columns = ("score", "path", "width", "height", "format", "bytes", "date")
    grouped = {} if query.group is None else {"like": len(hit.like)}
    return {"place": place, **{name: plain[name] for name in columns}, **grouped}
