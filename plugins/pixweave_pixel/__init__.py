"""Generator `pixel`: a grid of coloured cells, coarse to fine, with or without a palette."""

from __future__ import annotations

from pixweave import hookimpl


@hookimpl
def register_generators() -> dict[str, str]:
    """Register `pixel`."""
    return {"pixel": "pixweave_pixel.pixel_settings:Pixel"}
