"""What is asked of an index: terms, filters, how many, and in which order."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal

Sort = Literal["score", "path", "date", "size"]


@dataclass(frozen=True)
class Term:
    """A text or a picture file, and how much it counts; below 0 it is subtracted."""

    what: str
    weight: float = 1.0
    is_file: bool = False


@dataclass(frozen=True)
class Bound:
    """Keep pictures that match a text at least (or, `below`, less than) this clearly.

    Measured in standard deviations above the mean of the whole index, since the plain cosines of
    two texts cannot be compared.
    """

    text: str
    least: float
    below: bool = False


@dataclass(frozen=True)
class Filters:
    """What a file must be to be looked at; all that is given must hold.

    `under` are folders, `name` glob patterns for the path or the file name, `since` and `until` in
    seconds (when the picture was taken, else when the file changed), `types` like `jpeg`, sides in
    pixels, sizes in bytes.
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
    """A search. Without terms it lists what the filters keep, and scores are None.

    The vector that is looked for is the sum of the terms' unit vectors by their weights, made unit
    again, so that scores are cosines. `bounds` drop pictures by what they show. `cut` 0..1 keeps
    results as far above the mean score of the index as that part of the best one. `group` is the
    cosine from which pictures count as near-duplicates: only the best of each group is a result,
    with the others as its `like`. `sort` orders the `top` best, after all that.
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
        """What is looked for, in a few words."""
        words = [
            ("- " if t.weight < 0 else "+ ") + (os.path.basename(t.what) if t.is_file else t.what)
            for t in self.terms
        ]
        return " ".join(words).removeprefix("+ ") or "pictures"


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
    """The query that the options of the verb `search`, or the settings of the stage, make.

    `rest` are the fields of Filters and of Query by their own names.
    """
    found = [Term(text) for text in texts] + [Term(path, 1.0, True) for path in like]
    found += [Term(text, weight) for weight, text in terms]
    found += [Term(path, weight, True) for weight, path in images]
    found += [Term(text, -0.5) for text in minus]
    bounds = [Bound(text, not_above, below=True) for text in nots]
    bounds += [Bound(text, least) for text, least in labels]
    own = {f.name for f in fields(Filters)}
    filters = Filters(**{name: value for name, value in rest.items() if name in own})
    others = {name: value for name, value in rest.items() if name not in own}
    return Query(found, bounds, filters, **others)


def day(text: str) -> float:
    """The second at which a day begins, here; ValueError if it is none."""
    return datetime.fromisoformat(text).timestamp()


def size_of(text: str) -> int:
    """Bytes from `500k` or `2MB`; ValueError if it is no size."""
    number = text.lower().removesuffix("b")
    factor = {"k": 1000, "m": 1000**2, "g": 1000**3}.get(number[-1:], 1)
    return int(float(number.rstrip("kmg")) * factor)


@dataclass(frozen=True)
class Hit:
    """One picture that was found: an absolute path and its cosine with the query."""

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

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        made: dict[str, Any] = {
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
            made["like"] = [hit.plain() for hit in self.like]
        return made
