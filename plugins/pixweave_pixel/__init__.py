"""Generator `pixel`: a grid of coloured cells, coarse to fine, with or without a palette."""

from __future__ import annotations

from pixweave import Component, hookimpl
from pixweave_pixel.pixel_settings import Pixel


@hookimpl
def register_generators() -> dict[str, type[Component]]:
    """Offer `pixel`."""
    return {"pixel": Pixel}
