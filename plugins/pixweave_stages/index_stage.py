"""Stage `index`: add images to an index that can be searched."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pixweave import Component, Field, Issue, Part, PartOf
from pixweave.recipe.path_types import Inputs
from pixweave.search.search_settings import FolderPath, Texts
from pixweave_stages.stage_inputs import INPUT, take_images

if TYPE_CHECKING:
    from pixweave.component import RecipeInfo
    from pixweave.events import Event
    from pixweave.pipeline.stage_runner import StageContext
    from pixweave.search import Index


class IndexStage(Component):
    """Add images to an index, for `pixweave search` and the stage `search`."""

    example: ClassVar[Mapping[str, Any]] = {"index": "album"}

    index: FolderPath = Field(description="folder of the index; created if it does not exist")
    input: Inputs = Field((), description=INPUT)
    tag: Texts = Field((), description="tags to give to all images, for filtering")
    perceptors: tuple[Part, ...] = PartOf(
        "perceptor",
        many=True,
        default=None,
        description="perceptor that embeds the images; by default the recipe's first",
    )

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """An index has one perceptor."""
        yield from check_perceptor(self.perceptors, recipe)

    def build(self, run: StageContext) -> Any:
        """The stage: a generator function that updates the index."""
        from pixweave.search import open_index

        def index(previous: Sequence[str]) -> Generator[Event, None, list[str]]:
            images = take_images(run.part, previous, self.input)
            embedder = stage_embedder(run, self.perceptors)
            with open_index(self.index, embedder, make=True) as opened:
                yield from fill_index(run, opened, images, self.tag)
            return images

        return index


def check_perceptor(own: Sequence[Part], recipe: RecipeInfo) -> Iterable[Issue]:
    """The stage must have one perceptor."""
    if len(own) > 1:
        yield Issue("perceptors", f"it uses one perceptor, and has {len(own)}", "keep one")
    elif not recipe.perceptors:
        yield Issue("", "it needs a perceptor", "add 'perceptors: [tiny]'")


def stage_embedder(run: StageContext, own: Sequence[Part]) -> Any:
    """The embedder of the stage's perceptor, else of the recipe's first; built when needed."""
    from pixweave.engine.embedders import make_embedder

    part = (*own, *run.recipe.perceptors)[0]
    return make_embedder(run.recipe, part, run.prebuilt)


def fill_index(
    run: StageContext, index: Index, inputs: Sequence[str], tags: Sequence[str] = ()
) -> Generator[Event, None, None]:
    """Update an index, with the preprocessing of the images already in it.

    With another preprocessing, the index would hold two sets of vectors, and a search uses only one
    of them. Yields a warning for each unreadable file.
    """
    from dataclasses import asdict

    from pixweave.events import Event
    from pixweave.loading import Preprocessing
    from pixweave.search import IndexOptions, IndexProgress

    identity = index.embedder.identity
    models = [model for model in index.store.models() if model.identity == identity]
    existing: dict[str, Any] = {}
    if models:
        largest = max(models, key=lambda model: model.count)
        preprocessing = Preprocessing.of_key(largest.preprocessing)
        existing = {"background": preprocessing.background, "frames": preprocessing.frames}
    options = IndexOptions(inputs, tags=tags, retry=True, **existing)
    progress = IndexProgress()
    for progress in index.update(options, run.stop):
        for image in progress.unreadable:
            message = f"not indexed: {run.relative(image.path)}: {image.reason}"
            yield Event("warning", {"message": message})
    counts = {key: value for key, value in asdict(progress).items() if key != "unreadable"}
    yield Event("indexed", {"folder": str(index.store.folder), **counts})
