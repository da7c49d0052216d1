"""Exporters: stills (`png`, `jpeg`, `svg`) and films (`mp4`, `gif`, `apng`, `webp`, `frames`)."""

from __future__ import annotations

from pixweave import Component, hookimpl
from pixweave_export.export_settings import Apng, Frames, Gif, Jpeg, Mp4, Png, Svg, Webp


@hookimpl
def register_exporters() -> dict[str, type[Component]]:
    """Offer them all."""
    return {
        "png": Png,
        "jpeg": Jpeg,
        "svg": Svg,
        "mp4": Mp4,
        "gif": Gif,
        "apng": Apng,
        "webp": Webp,
        "frames": Frames,
    }
