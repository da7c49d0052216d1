"""What the stages `index` and `search` of a recipe do with an index."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixweave.loading import Look
from pixweave.search import contact_sheet
from pixweave.search.options import Tally, Wish
from pixweave.search.query import Hit, Query

if TYPE_CHECKING:
    from pixweave.search.image_index import Index


@contextmanager
def somewhere(folder: str | None) -> Iterator[Path]:
    """The folder; where there is none, one that is gone afterwards."""
    if folder is not None:
        yield Path(folder)
        return
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="pixweave-") as made:
        yield Path(made)


def fill(
    index: Index, inputs: Sequence[str], tags: Sequence[str], stop: Callable[[], bool]
) -> Iterator[Tally]:
    """Bring the index up to date with the inputs, read in the way of its other pictures.

    Else vectors of two ways would stand in one index, and a search looks at one of them.
    """
    identity = index.encoder.identity
    mine = [model for model in index.store.models() if model.identity == identity]
    before: dict[str, Any] = {}
    if mine:
        look = Look.of_key(max(mine, key=lambda model: model.count).look)
        before = {"background": look.background, "frames": look.frames}
    yield from index.update(Wish(inputs, tags=tags, retry=True, **before), stop)


def row(place: int, hit: Hit, path: str, query: Query) -> dict[str, Any]:
    """A hit as a row of the table; near-duplicates are counted where they are grouped."""
    plain = {**hit.plain(), "path": path}
    kept = ("score", "path", "width", "height", "format", "bytes", "date")
    grouped = {} if query.group is None else {"like": len(hit.like)}
    return {"place": place, **{name: plain[name] for name in kept}, **grouped}


def write_pages(
    hits: Sequence[Hit], folder: Path, sheet: str | None, page: str | None, title: str
) -> Iterator[Path]:
    """Write a contact sheet and a page into the folder, as far as they are named."""
    for name in filter(None, (sheet, page)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if name is sheet:
            contact_sheet.write_sheet(hits, folder / name)
        else:
            contact_sheet.write_page(hits, folder / name, title)
        yield folder / name
