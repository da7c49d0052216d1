"""Stage `index`: pictures put into an index, for searches."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pixweave import Component, Field, Issue, Part, PartOf
from pixweave.recipe.path_types import Inputs
from pixweave.search.search_settings import FolderPath, Texts
from pixweave_stages.stage_inputs import INPUT, take_pictures

if TYPE_CHECKING:
    from pixweave.component import RecipeInfo
    from pixweave.events import Event
    from pixweave.pipeline.stage_runner import StageContext
    from pixweave.search import Index


class IndexStage(Component):
    """Put the pictures into an index, for `pixweave search` and the stage `search`."""

    index: FolderPath = Field(description="folder of the index, made if it is not there")
    input: Inputs = Field((), description=INPUT)
    tag: Texts = Field((), description="words that all of them get, for filters")
    perceptors: tuple[Part, ...] = PartOf(
        "perceptor",
        many=True,
        default=None,
        description="what understands the pictures; by default the recipe's",
    )

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """An index has one perceptor."""
        yield from check_perceptor(self.perceptors, recipe)

    def build(self, run: StageContext) -> Any:
        """A function that brings the index up to date."""
        from pixweave.search import open_index

        def index(came: Sequence[str]) -> Generator[Event, None, list[str]]:
            pictures = take_pictures(run.part, came, self.input)
            embedder = stage_embedder(run, self.perceptors)
            with open_index(self.index, embedder, make=True) as opened:
                yield from fill_index(run, opened, pictures, self.tag)
            return pictures

        return index


def check_perceptor(own: Sequence[Part], recipe: RecipeInfo) -> Iterable[Issue]:
    """An index is seen by one perceptor."""
    if len(own) > 1:
        yield Issue("perceptors", f"it sees with one perceptor, and has {len(own)}", "keep one")
    elif not recipe.perceptors:
        yield Issue("", "it needs a perceptor", "add 'perceptors: [tiny]'")


def stage_embedder(run: StageContext, own: Sequence[Part]) -> Any:
    """The stage's own perceptor, else the recipe's first, for an index; built when needed."""
    from pixweave.engine.embedders import make_embedder

    part = (*own, *run.recipe.perceptors)[0]
    return make_embedder(run.recipe, part, run.prebuilt)


def fill_index(
    run: StageContext, index: Index, inputs: Sequence[str], tags: Sequence[str] = ()
) -> Generator[Event, None, None]:
    """Bring an index up to date, read in the way of its other pictures; tell what is no picture.

    Else vectors of two ways would stand in one index, and a search looks at one of them.
    """
    from dataclasses import asdict

    from pixweave.events import Event
    from pixweave.loading import Preprocessing
    from pixweave.search import IndexOptions, IndexProgress

    identity = index.embedder.identity
    mine = [model for model in index.store.models() if model.identity == identity]
    before: dict[str, Any] = {}
    if mine:
        look = Preprocessing.of_key(max(mine, key=lambda model: model.count).preprocessing)
        before = {"background": look.background, "frames": look.frames}
    options = IndexOptions(inputs, tags=tags, retry=True, **before)
    progress = IndexProgress()
    for progress in index.update(options, run.stop):
        for image in progress.unreadable:
            message = f"not indexed: {run.relative(image.path)}: {image.reason}"
            yield Event("warning", {"message": message})
    counts = {key: value for key, value in asdict(progress).items() if key != "unreadable"}
    yield Event("indexed", {"folder": str(index.store.folder), **counts})
