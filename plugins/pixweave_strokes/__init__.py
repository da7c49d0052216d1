"""Generator `strokes`: a drawing of Bezier strokes or filled shapes, exportable as SVG."""

from __future__ import annotations

from pixweave import hookimpl


@hookimpl
def register_generators() -> dict[str, str]:
    """Register `strokes`."""
    return {"strokes": "pixweave_strokes.stroke_settings:Strokes"}
