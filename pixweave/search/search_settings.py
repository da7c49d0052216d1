"""What the stages `index` and `search` of a recipe may say; the verbs' options under their names.

Only two are called otherwise, since a verb's `--in` and `--not` read badly in YAML: `under` and
`without`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, WithJsonSchema, model_validator

from pixweave.component import Field, Settings
from pixweave.recipe.path_types import Inputs, PageName, SheetName, TableName
from pixweave.recipe.paths import PictureFile, resolve
from pixweave.timeline.expressions import Wrong

if TYPE_CHECKING:
    from pixweave.search import Query


def _read_texts(raw: Any) -> tuple[str, ...]:
    items = [raw] if isinstance(raw, str) else raw
    if not isinstance(items, (list, tuple)) or not all(isinstance(i, str) and i for i in items):
        raise Wrong("must be a text, or a list of texts", "put a number in quotes")
    return tuple(map(str, items))


def _read_terms(raw: Any) -> Any:
    items = [raw] if isinstance(raw, (str, Mapping)) else raw
    if not isinstance(items, (list, tuple)):
        raise Wrong("must be a text, or a list of texts and of mappings with 'text' or 'image'")
    for item in items:
        if not isinstance(item, (str, Mapping, Settings)):
            raise Wrong(f"has {item!r}, which is neither a text nor a mapping with 'text' or "
                        "'image'", "put a number in quotes")  # fmt: skip
    return [{"text": item} if isinstance(item, str) else item for item in items]


def _read_pictures(raw: Any) -> Any:
    return [raw] if isinstance(raw, str) else raw


def _read_folders(raw: Any) -> tuple[str, ...]:
    items = [raw] if isinstance(raw, str) else raw
    if not isinstance(items, (list, tuple)) or not all(isinstance(i, str) and i for i in items):
        raise Wrong("must be a folder, or a list of folders")
    return tuple(str(resolve(item).absolute()) for item in items)


def _read_folder(raw: Any) -> str:
    if not isinstance(raw, str) or not raw:
        raise Wrong(f"must be the path of a folder, not {raw!r}")
    path = resolve(raw).absolute()
    if path.exists() and not path.is_dir():
        raise Wrong(f"must be a folder; '{raw}' is a file")
    return str(path)


def _read_day(raw: Any) -> str:
    from pixweave.search.query import day

    try:
        day(raw)
    except (ValueError, TypeError):
        raise Wrong(f"must be a date, not {raw!r}", "write 2024-05-31") from None
    return str(raw)


def _read_size(raw: Any) -> int:
    from pixweave.search.query import size_of

    try:
        return size_of(str(raw))
    except ValueError:
        raise Wrong(f"must be a size, not {raw!r}", "write 500k, 2MB") from None


_LIST = {"type": "array", "items": {"type": "string"}}
_ONE_OR_MORE = {"anyOf": [{"type": "string"}, _LIST]}
_TERM = {
    "type": "object", "additionalProperties": False,
    "properties": {"text": {"type": "string"}, "image": {"type": "string"},
                   "weight": {"type": "number"}},
}  # fmt: skip
_TERMS = {
    "anyOf": [{"type": "string"}, _TERM,
              {"type": "array", "items": {"anyOf": [{"type": "string"}, _TERM]}}],
    "x-type": "list of texts and terms",
}  # fmt: skip


def _text(x_type: str) -> WithJsonSchema:
    return WithJsonSchema({**_ONE_OR_MORE, "x-type": x_type})


class Wanted(Settings):
    """One term of a query: a text or a picture, and how much it counts."""

    text: str | None = Field(None, min_length=1, description="what the picture shows")
    image: PictureFile | None = Field(None, description="a picture like this one")
    weight: float = Field(1.0, description="how much it counts; below 0 it is subtracted")

    @model_validator(mode="after")
    def _one_of_each(self) -> Wanted:
        if (self.text is None) == (self.image is None):
            raise ValueError("a term has either text or image")
        return self


Texts = Annotated[tuple[str, ...], BeforeValidator(_read_texts), _text("list of texts")]
Terms = Annotated[tuple[Wanted, ...], BeforeValidator(_read_terms), WithJsonSchema(_TERMS)]
Pictures = Annotated[
    tuple[PictureFile, ...], BeforeValidator(_read_pictures), _text("list of paths")
]
Folders = Annotated[tuple[str, ...], BeforeValidator(_read_folders), _text("list of folders")]
FolderPath = Annotated[str, BeforeValidator(_read_folder), WithJsonSchema({"type": "string"})]
Day = Annotated[str, BeforeValidator(_read_day), WithJsonSchema({"type": "string"})]
Bytes = Annotated[
    int,
    BeforeValidator(_read_size),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}]}),
]


class Indexing(Settings):
    """Put the pictures into an index, for `pixweave search` and the stage `search`."""

    index: FolderPath = Field(description="folder of the index, made if it is not there")
    input: Inputs = Field((), description="pictures: files, folders, patterns; in a first stage")
    tag: Texts = Field((), description="words that all of them get, for filters")


class Searching(Settings):
    """Find pictures by texts, by pictures, or by both; those that were found go on, best first.

    A first stage searches an index, brought up to date from `input` if that is there; a later one
    the pictures that it was left.
    """

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
        None, ge=0, le=1, description="only those at least this far from the mean score to the best"
    )
    min_score: float | None = Field(None, description="only from this cosine on")
    group: float | None = Field(
        None, ge=0, le=1, description="one of each group of near-duplicates (0.95)"
    )
    sort: Literal["score", "path", "date", "size"] = Field(
        "score", description="order of what was found"
    )
    reverse: bool = Field(False, description="turn the order round")
    file: TableName = Field("results.csv", description="table of places and scores")
    sheet: SheetName | None = Field(None, description="also write a contact sheet")
    html: PageName | None = Field(None, description="also write a page with the pictures in it")

    def asked(self) -> Query:
        """The query of the verb that has these options."""
        from pixweave.search.query import ask, day

        texts = [(term.weight, term.text) for term in self.query if term.text is not None]
        images = [(term.weight, str(term.image)) for term in self.query if term.image is not None]
        return ask(
            like=[str(path) for path in self.like], terms=texts, images=images, minus=self.minus,
            nots=self.without, not_above=self.not_above, labels=[*self.label.items()],
            under=self.under, name=self.name, since=self.since and day(self.since),
            until=self.until and day(self.until), min_bytes=self.min_bytes,
            max_bytes=self.max_bytes, min_side=self.min_side, types=self.type, tags=self.tag,
            top=self.top, skip=self.skip, cut=self.cut, least=self.min_score, group=self.group,
            sort=self.sort, reverse=self.reverse,
        )  # fmt: skip
