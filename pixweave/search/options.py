"""What to index, and how far it is."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pixweave.loading import UnreadableImage


@dataclass(frozen=True)
class IndexOptions:
    """What to index and how.

    `inputs`, `hidden` and `exclude` are those of `find_images`; `tags` are given to every picture
    found. `retry` reads again what was broken, `rehash` what seems unchanged; `purge` drops files
    even where a folder has become empty altogether, as an unmounted disk would have.

    `executor` is the name of one, or `use` with settings: it does the work in shards of `shard`
    files (0: four batches); without it, this process does. `workers` are threads that read, in each
    process; 0: one for each core, or as many as the executor gives a worker.
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
    """How far it is: numbers of files, `committed` those that are safe on the disk.

    `encoded` counts files whose content went through the perceptor, `reused` those whose content
    was known (copies, moved files), `unchanged` those that were not opened; `merged` those among
    these that came out of the journal, done by a run that was broken off. `by` says what saw the
    pictures and who worked, when that is known.
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
    """What was found broken since the last report; `already` broken files are not repeated."""
    already: int = 0
    spared: list[str] = field(default_factory=list)
    """Folders that hold nothing any more and were left in the index for that."""

    @property
    def rate(self) -> float:
        """Files read and encoded per second."""
        return (self.encoded + self.reused) / self.seconds if self.seconds else 0.0
