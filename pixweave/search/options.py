"""Options and progress of an index update."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pixweave.loading import UnreadableImage


@dataclass(frozen=True)
class IndexOptions:
    """What to index and how.

    `inputs`, `hidden` and `exclude` are those of `find_images`; `tags` are added to every image
    found. `retry` reads unreadable files again, `rehash` also unchanged files; `purge` drops files
    even if a folder has become empty altogether, like that of an unmounted disk.

    `executor` is a name, or `use` with settings: it works in shards of `shard` files (0: four
    batches); without it, this process does all the work. `workers` is the number of reader threads
    in each process; 0: one for each core, or as many as the executor gives a worker.
    """

    inputs: Sequence[str | os.PathLike[str]]
    hidden: bool = False
    exclude: Sequence[str] = ()
    tags: Sequence[str] = ()
    background: tuple[int, int, int] = (255, 255, 255)
    frames: int = 1
    batch: int = 0
    workers: int = 0
    executor: str | Mapping[str, Any] | None = None
    shard: int = 0
    retry: bool = False
    rehash: bool = False
    purge: bool = False


@dataclass
class IndexProgress:
    """The progress of an update, as numbers of files; `committed` ones are safely on disk.

    `encoded` counts files whose content was encoded, `reused` those whose content was known
    (copies, moved files), `unchanged` those that were not opened, `merged` those that came from
    the journal of an interrupted run. `by` describes the perceptor and the workers, once known.
    """

    seen: int = 0
    encoded: int = 0
    reused: int = 0
    unchanged: int = 0
    broken: int = 0
    removed: int = 0
    committed: int = 0
    others: int = 0
    merged: int = 0
    by: str = ""
    seconds: float = 0.0
    stopped: bool = False
    unreadable: list[UnreadableImage] = field(default_factory=list)
    """Unreadable files found since the last report; `already` counts those known before."""
    already: int = 0
    spared: list[str] = field(default_factory=list)
    """Folders without any remaining image, whose files are therefore kept in the index."""

    @property
    def rate(self) -> float:
        """Files read and encoded per second."""
        return (self.encoded + self.reused) / self.seconds if self.seconds else 0.0
