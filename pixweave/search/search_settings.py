"""Setting types of search stages in recipes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema, model_validator

from pixweave.component import Field, Settings
from pixweave.errors import InvalidValue
from pixweave.recipe.paths import PictureFile, resolve, resolve_output
from pixweave.search.query import day, size_of


def _read_texts(raw: Any) -> tuple[str, ...]:
    items = [raw] if isinstance(raw, str) else raw
    if not isinstance(items, (list, tuple)) or not all(isinstance(i, str) and i for i in items):
        raise InvalidValue("must be a text, or a list of texts", "put a number in quotes")
    return tuple(map(str, items))


def _read_terms(raw: Any) -> Any:
    items = [raw] if isinstance(raw, (str, Mapping)) else raw
    if not isinstance(items, (list, tuple)):
        raise InvalidValue(
            "must be a text, or a list of texts and of mappings with 'text' or 'image'"
        )
    for item in items:
        if not isinstance(item, (str, Mapping, Settings)):
            raise InvalidValue(
                f"has {item!r}, which is neither a text nor a mapping with 'text' or 'image'",
                "put a number in quotes",
            )
    return [{"text": item} if isinstance(item, str) else item for item in items]


def _read_pictures(raw: Any) -> Any:
    return [raw] if isinstance(raw, str) else raw


def _read_folders(raw: Any) -> tuple[str, ...]:
    items = [raw] if isinstance(raw, str) else raw
    if not isinstance(items, (list, tuple)) or not all(isinstance(i, str) and i for i in items):
        raise InvalidValue("must be a folder, or a list of folders")
    return tuple(str(resolve(item).absolute()) for item in items)


def _read_folder(raw: Any) -> str:
    if not isinstance(raw, str) or not raw:
        raise InvalidValue(f"must be the path of a folder, not {raw!r}")
    path = resolve_output(raw).absolute()
    if path.exists() and not path.is_dir():
        raise InvalidValue(f"must be a folder; '{raw}' is a file")
    return str(path)


def _read_day(raw: Any) -> str:
    try:
        day(raw)
    except (ValueError, TypeError):
        raise InvalidValue(f"must be a date, not {raw!r}", "write 2024-05-31") from None
    return str(raw)


def _read_size(raw: Any) -> int:
    try:
        return size_of(str(raw))
    except ValueError:
        raise InvalidValue(f"must be a size, not {raw!r}", "write 500k, 2MB") from None


_WORD = {"type": "string", "minLength": 1}
_LIST = {"type": "array", "items": _WORD}
_ONE_OR_MORE = {"anyOf": [_WORD, _LIST]}
_TERM = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "text": {"type": "string", "minLength": 1, "description": "description of the image"},
        "image": {"type": "string", "description": "example image"},
        "weight": {"type": "number", "description": "weight of the term; negative: subtracted"},
    },
    "oneOf": [{"required": ["text"]}, {"required": ["image"]}],
}
_TERMS = {
    "anyOf": [
        _WORD,
        _TERM,
        {"type": "array", "items": {"anyOf": [_WORD, _TERM]}},
    ],
    "x-type": "list of texts and terms",
}


def _text(x_type: str) -> WithJsonSchema:
    return WithJsonSchema({**_ONE_OR_MORE, "x-type": x_type})


class Wanted(Settings):
    """One term of a query: a text or an image, and its weight."""

    text: str | None = Field(None, min_length=1, description="description of the image")
    image: PictureFile | None = Field(None, description="example image")
    weight: float = Field(1.0, description="weight of the term; negative: subtracted")

    @model_validator(mode="after")
    def _one_of_each(self) -> Wanted:
        if (self.text is None) == (self.image is None):
            raise ValueError("a term must have either text or image")
        return self


Texts = Annotated[tuple[str, ...], BeforeValidator(_read_texts), _text("list of texts")]
Terms = Annotated[tuple[Wanted, ...], BeforeValidator(_read_terms), WithJsonSchema(_TERMS)]
Pictures = Annotated[
    tuple[PictureFile, ...], BeforeValidator(_read_pictures), _text("list of paths")
]
Folders = Annotated[tuple[str, ...], BeforeValidator(_read_folders), _text("list of folders")]
FolderPath = Annotated[str, BeforeValidator(_read_folder), WithJsonSchema(_WORD)]
Day = Annotated[str, BeforeValidator(_read_day), WithJsonSchema({"type": "string"})]
Bytes = Annotated[
    int,
    BeforeValidator(_read_size),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}]}),
]
