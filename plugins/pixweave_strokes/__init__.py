"""Generator `strokes`: a drawing of Bezier strokes or filled shapes, exact as SVG."""

from __future__ import annotations

from pixweave import Component, hookimpl
from pixweave_strokes.stroke_settings import Strokes


@hookimpl
def register_generators() -> dict[str, type[Component]]:
    """Offer `strokes`."""
    return {"strokes": Strokes}
