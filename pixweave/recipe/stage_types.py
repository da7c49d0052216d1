"""What a stage can do, and the settings of each: generate, rank, classify, index, search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, WithJsonSchema

from pixweave.component import Field, Settings
from pixweave.recipe.path_types import FolderName, Inputs, TableName
from pixweave.search.search_settings import Indexing, Searching
from pixweave.timeline.expressions import Wrong


def _read_seeds(raw: Any) -> int | tuple[int, ...]:
    if isinstance(raw, (list, tuple)):
        if not raw or not all(_is_seed(item) for item in raw):
            raise Wrong("must be a list of whole numbers from 0 on")
        if len(set(raw)) < len(raw):
            raise Wrong("has a seed twice")
        return tuple(raw)
    if not _is_seed(raw) or not 1 <= raw <= 100_000:
        raise Wrong(f"must be how many (1 to 100000), or a list of seeds, not {raw!r}")
    return int(raw)


def _is_seed(raw: Any) -> bool:
    return isinstance(raw, int) and not isinstance(raw, bool) and 0 <= raw < 2**63


_WHOLE = {"type": "integer", "minimum": 0}
Seeds = Annotated[
    Any,
    BeforeValidator(_read_seeds),
    WithJsonSchema({"anyOf": [{**_WHOLE, "minimum": 1}, {"type": "array", "items": _WHOLE}],
                    "x-type": "whole number | list of seeds"}),
]  # fmt: skip


class Generate(Settings):
    """Draw candidates: the recipe's picture for several seeds, each in `candidates/seed-N`."""

    seeds: Seeds = Field(
        1, description="how many, with the recipe's seed and those after it; or a list of seeds"
    )


class Rank(Settings):
    """Order the pictures by losses or prompts, the best first: each is a loss, its sign turned."""

    input: Inputs = Field((), description="pictures: files, folders, patterns; in a first stage")
    keep: int | None = Field(None, ge=1, description="how many go on; by default all")
    file: TableName = Field("ranking.csv", description="table of places and scores")


class Classify(Settings):
    """Name the pictures by a classifier; go on with all, or those that are wanted."""

    input: Inputs = Field((), description="pictures: files, folders, patterns; in a first stage")
    top: int = Field(1, ge=1, description="how many labels the table has for each picture")
    only: tuple[str, ...] | None = Field(
        None, min_length=1, description="go on with the pictures of these labels alone"
    )
    by: str | None = Field(None, description="order them by the score of this label")
    keep: int | None = Field(None, ge=1, description="how many go on; by default all")
    sort_into: FolderName | None = Field(
        None, description="folder, in the run folder, with a folder of pictures for each label"
    )
    how: Literal["copy", "link"] = Field("copy", description="how pictures come into it")
    file: TableName = Field("labels.csv", description="table of labels and scores")


@dataclass(frozen=True)
class Doing:
    """One word for `do`: its settings, and the parts that it takes."""

    model: type[Settings]
    parts: Mapping[str, str] = field(default_factory=dict)
    """Key of the stage -> kind of part."""
    needed: tuple[str, ...] = ()


DOINGS: Mapping[str, Doing] = {
    "generate": Doing(Generate),
    "rank": Doing(Rank, {"losses": "loss", "perceptors": "perceptor"}, ("losses",)),
    "classify": Doing(Classify, {"classifier": "classifier"}, ("classifier",)),
    "index": Doing(Indexing, {"perceptors": "perceptor"}),
    "search": Doing(Searching, {"searcher": "searcher", "perceptors": "perceptor"}),
}
"""What a stage can do."""
