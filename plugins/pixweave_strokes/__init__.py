"""Generator `strokes`: a drawing of Bezier strokes or filled shapes, exact as SVG."""

from __future__ import annotations

from pixweave import hookimpl


@hookimpl
def register_generators() -> dict[str, str]:
    """Offer `strokes`."""
    return {"strokes": "pixweave_strokes.stroke_settings:Strokes"}
