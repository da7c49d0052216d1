"""Queries to an index: terms, filters, number and order of results; and hits."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from PIL import Image

Sort = Literal["score", "path", "date", "size"]


@dataclass(frozen=True)
class Term:
    """A text or an image file with its weight; a negative weight subtracts it."""

    what: str
    weight: float = 1.0
    is_file: bool = False


@dataclass(frozen=True)
class Bound:
    """Keep images that match a text by at least `least` (or, with `below`, by less).

    Measured in standard deviations above the mean of the whole index, since cosines of different
    texts are not comparable.
    """

    text: str
    least: float
    below: bool = False


@dataclass(frozen=True)
class Filters:
    """Conditions on files; all given ones must hold.

    `under` are folders, `name` glob patterns for the path or the file name, `since` and `until`
    Unix times in seconds (when the photo was taken, else the modification time), `types` formats
    like `jpeg`; sides are in pixels, sizes in bytes.
    """

    under: Sequence[str] = ()
    name: Sequence[str] = ()
    since: float | None = None
    until: float | None = None
    min_bytes: int | None = None
    max_bytes: int | None = None
    min_side: int | None = None
    types: Sequence[str] = ()
    tags: Sequence[str] = ()

    def __bool__(self) -> bool:
        return self != Filters()


@dataclass(frozen=True)
class Query:
    """A search query. Without terms it lists the files that match the filters, without scores.

    The query vector is the normalised weighted sum of the terms' unit vectors, so scores are
    cosines. `least` is the minimum cosine. `bounds` drop images by what they show. `cut`, 0..1,
    keeps results at least this fraction of the way from the index's mean score to the best score.
    `group` is the minimum cosine of near-duplicates: only the best of each group is a result, with
    the others as its `like`. `sort` orders the `top` best results.
    """

    terms: Sequence[Term] = ()
    bounds: Sequence[Bound] = ()
    filters: Filters = field(default_factory=Filters)
    top: int = 20
    skip: int = 0
    cut: float | None = None
    least: float | None = None
    group: float | None = None
    sort: Sort = "score"
    reverse: bool = False

    @property
    def title(self) -> str:
        """The terms as a short text."""
        words = [
            ("- " if t.weight < 0 else "+ ") + (os.path.basename(t.what) if t.is_file else t.what)
            for t in self.terms
        ]
        return " ".join(words).removeprefix("+ ") or "images"


def make_query(
    texts: Iterable[str] = (),
    like: Iterable[str] = (),
    terms: Iterable[tuple[float, str]] = (),
    images: Iterable[tuple[float, str]] = (),
    minus: Iterable[str] = (),
    nots: Iterable[str] = (),
    not_above: float = 1.5,
    labels: Iterable[tuple[str, float]] = (),
    **rest: Any,
) -> Query:
    """The query for the options of the `search` command or the settings of the search stage.

    `rest` are further fields of Filters and Query by name.
    """
    all_terms = [Term(text) for text in texts] + [Term(path, 1.0, True) for path in like]
    all_terms += [Term(text, weight) for weight, text in terms]
    all_terms += [Term(path, weight, True) for weight, path in images]
    all_terms += [Term(text, -0.5) for text in minus]
    bounds = [Bound(text, not_above, below=True) for text in nots]
    bounds += [Bound(text, least) for text, least in labels]
    names = {f.name for f in fields(Filters)}
    filters = Filters(**{name: value for name, value in rest.items() if name in names})
    others = {name: value for name, value in rest.items() if name not in names}
    return Query(all_terms, bounds, filters, **others)


def day(text: str) -> float:
    """The start of a day in local time as Unix time in seconds; ValueError if it is not a date."""
    return datetime.fromisoformat(text).timestamp()


def size_of(text: str) -> int:
    """The bytes of `500k` or `2MB`; ValueError if it is not a size."""
    number = text.lower().removesuffix("b")
    factor = {"k": 1000, "m": 1000**2, "g": 1000**3}.get(number[-1:], 1)
    return int(float(number.rstrip("kmg")) * factor)


@dataclass(frozen=True)
class Hit:
    """One search result: an absolute path and its cosine with the query."""

    path: str
    score: float | None
    width: int
    height: int
    format: str
    size: int
    date: float
    frame: int
    id: int
    vector: int = 0
    """The id of the vector that matched best."""
    like: tuple[Hit, ...] = ()

    @property
    def pil(self) -> Image.Image:
        """The image of the file as a Pillow image, upright; MissingError if it is gone."""
        from pixweave.media.images import pictures_of, read_image

        return pictures_of(read_image(self.path))[0]

    def _repr_png_(self) -> bytes:
        """The image as notebooks show it."""
        from pixweave.media.images import png_bytes

        return png_bytes(self.pil)

    def plain(self) -> dict[str, Any]:
        """The hit as a dict for JSON."""
        data: dict[str, Any] = {
            "path": self.path,
            "score": None if self.score is None else round(self.score, 6),
            "width": self.width,
            "height": self.height,
            "format": self.format,
            "bytes": self.size,
            "date": datetime.fromtimestamp(self.date).isoformat(timespec="seconds"),
            "frame": self.frame,
        }
        if self.like:
            data["like"] = [hit.plain() for hit in self.like]
        return data
