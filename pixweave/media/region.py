"""Region: a part of an image, defined by a mask."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Region:
    """A mask `[1, 1, H, W]`, 1 inside and 0 outside, and the bounding `box` of its inside.

    `box` is left, top, right and bottom in pixels; equal masks have the same `name`.
    """

    mask: Tensor
    box: tuple[int, int, int, int]

    @cached_property
    def name(self) -> str:
        """A short digest of the mask, which names its random streams."""
        raw = (self.mask * 255).round().byte().cpu().numpy()
        return hashlib.blake2b(raw.tobytes(), digest_size=6).hexdigest()

    def fitted(self, height: int, width: int) -> Region:
        """The region resized to another image size."""
        if self.mask.shape[-2:] == (height, width):
            return self
        return region_of(F.interpolate(self.mask, (height, width), mode="nearest"))

    def grown(self, share: float) -> tuple[int, int, int, int]:
        """The box with a margin of `share` of its sides on each side, clipped to the image."""
        height, width = self.mask.shape[-2:]
        left, top, right, bottom = self.box
        across, down = (round(share * side) for side in (right - left, bottom - top))
        return (
            max(0, left - across),
            max(0, top - down),
            min(width, right + across),
            min(height, bottom + down),
        )


def region_of(mask: Tensor) -> Region:
    """The region of a mask, which must not be 0 everywhere."""
    inside = mask[0, 0] > 0
    rows, columns = inside.any(1).nonzero().flatten(), inside.any(0).nonzero().flatten()
    left, right, top, bottom = (int(end) for side in (columns, rows) for end in (side[0], side[-1]))
    return Region(mask, (left, top, right + 1, bottom + 1))
