"""Frame: the result of one step of the loop. Event: something that happened in a run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor


@dataclass(frozen=True)
class Frame:
    """The result of one step of the loop.

    `raw` is the generator's image, `[B, 3, H, W]` or, with alpha, `[B, 4, H, W]`, detached;
    `losses` are weighted scalars, detached and still on the device, because reading them waits for
    it. `finish` applies the recipe's filters to an image.
    """

    step: int
    raw: Tensor
    losses: Mapping[str, Tensor] = field(default_factory=dict)
    finish: Callable[[Tensor], Tensor] = field(default=lambda raw: raw, repr=False)

    @functools.cached_property
    def image(self) -> Tensor:
        """The image to show and export: `raw` after the filters, computed on first access."""
        return self.finish(self.raw)

    @property
    def pil(self) -> Image.Image:
        """`image` as a Pillow image, RGB or RGBA; of a batch the first one."""
        from pixweave.media.images import pictures_of

        return pictures_of(self.image[:1])[0]

    def _repr_png_(self) -> bytes:
        """The image as notebooks show it."""
        from pixweave.media.images import png_bytes

        return png_bytes(self.pil)


@dataclass(frozen=True)
class Event:
    """Something that happened: `kind` and JSON-compatible `data`; a step also has its `frame`.

    The kinds, in order: planned, warning, building, started, step, saved, result. Stages add the
    kind `stage` and their own kinds, such as ranked, classified, indexed or searched.
    """

    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)
    frame: Frame | None = None

    def plain(self) -> dict[str, Any]:
        """The event as a dict, as written to `events.jsonl` and by `--json`."""
        return {"event": self.kind, **self.data}
