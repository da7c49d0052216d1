"""The settings `fit` and `resample`: how an image is fitted to another size. Imports no torch."""

from __future__ import annotations

from typing import Literal

Fit = Literal["cover", "contain", "stretch", "tile", "center"]
Resample = Literal["smooth", "crisp"]

FITS = (
    "cover: fill the image and crop the rest; contain: show all of it, with bars; stretch: change "
    "the aspect ratio to fit; tile: original size, repeated; center: original size, centred"
)
