"""Setting types: input images of a stage, and output file names in the run folder."""

from __future__ import annotations

import glob
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from pixweave.errors import InvalidValue
from pixweave.media.endings import file_schema
from pixweave.recipe.output_files import OutputName
from pixweave.recipe.paths import nearest, resolve

FORMATS = (".csv", ".tsv", ".jsonl")
PICTURES = (".png", ".jpg", ".jpeg", ".webp")


def _read_input(raw: Any) -> tuple[str, ...]:
    items = [raw] if isinstance(raw, str) else raw
    if not isinstance(items, (list, tuple)) or not all(isinstance(i, str) and i for i in items):
        raise InvalidValue("must be a list of files, folders and globs")
    paths = []
    for item in items:
        path = resolve(item)
        if not glob.has_magic(str(item)) and not path.exists():
            raise InvalidValue(f"names '{item}', which does not exist", nearest(path))
        paths.append(str(path))
    return tuple(paths)


def _read_file(endings: Sequence[str]) -> Callable[[Any], str]:
    *others, last = endings
    hint = (
        f"use the extension {', '.join(others)} or {last}"
        if others
        else f"use the extension {last}"
    )

    def read(raw: Any) -> str:
        if not isinstance(raw, str) or not raw.lower().endswith(tuple(endings)):
            raise InvalidValue(f"must be the name of a file in the run folder, not {raw!r}", hint)
        return str(raw)

    return read


def _read_folder(raw: Any) -> str:
    if not isinstance(raw, str) or not raw:
        raise InvalidValue(f"must be the name of a folder in the run folder, not {raw!r}")
    return str(raw)


INSIDE = r"^(?![/~])(?!(?:.*/)?\.(?!/))[^\\:]*"
"""The start of the pattern of names in the run folder; `output_files` refuses any other."""
_TEXT = {"type": "string", "minLength": 1}


def _schema(endings: Sequence[str]) -> WithJsonSchema:
    return WithJsonSchema(file_schema(endings, INSIDE))


Inputs = Annotated[
    tuple[str, ...],
    BeforeValidator(_read_input),
    WithJsonSchema(
        {
            "anyOf": [_TEXT, {"type": "array", "items": _TEXT}],
            "x-type": "list of paths",
        }
    ),
]
_OUTPUT = OutputName()
TableName = Annotated[str, BeforeValidator(_read_file(FORMATS)), _schema(FORMATS), _OUTPUT]
SheetName = Annotated[str, BeforeValidator(_read_file(PICTURES)), _schema(PICTURES), _OUTPUT]
PageName = Annotated[str, BeforeValidator(_read_file((".html",))), _schema((".html",)), _OUTPUT]
FolderName = Annotated[
    str,
    BeforeValidator(_read_folder),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"{INSIDE}$",
            "minLength": 1,
            "patternErrorMessage": "must be the name of a folder in the run folder",
        }
    ),
    _OUTPUT,
]
