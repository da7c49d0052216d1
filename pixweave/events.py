"""Frame: what one step of the loop gave. Event: something that happened in a run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Frame:
    """What one step of the loop gave.

    `raw` is the generator's picture, `[B, 3, H, W]` or, with alpha, `[B, 4, H, W]`, detached;
    `losses` are weighted scalars, detached and still on the device, so that reading them is the
    reader's choice. `finish` puts the recipe's filters on the picture.
    """

    step: int
    raw: Tensor
    losses: Mapping[str, Tensor] = field(default_factory=dict)
    finish: Callable[[Tensor], Tensor] = field(default=lambda raw: raw, repr=False)

    @functools.cached_property
    def image(self) -> Tensor:
        """The picture to show and export: `raw` after the filters, made when first asked for."""
        return self.finish(self.raw)


@dataclass(frozen=True)
class Event:
    """Something that happened: `kind` and plain `data`; a step also has its `frame`.

    The kinds, in order: planned, warning, building, started, step, saved, result. Stages add
    `stage` and a kind of their own, such as ranked, classified, indexed or searched.
    """

    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)
    frame: Frame | None = None

    def plain(self) -> dict[str, Any]:
        """The event as it goes into `events.jsonl` and `--json`."""
        return {"event": self.kind, **self.data}
