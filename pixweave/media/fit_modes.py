"""How a picture is laid onto another size: the words of recipes. Imports no torch."""

from __future__ import annotations

from typing import Literal

Fit = Literal["cover", "contain", "stretch", "tile", "center"]
Resample = Literal["smooth", "crisp"]

FITS = (
    "cover: fill the picture, cut what juts out; contain: all of it, bars beside; stretch: both "
    "sides as they must be; tile: its own size, repeated; center: its own size, in the middle"
)
