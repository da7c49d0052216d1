"""Exporters: stills (`png`, `jpeg`, `svg`) and films (`mp4`, `gif`, `apng`, `webp`, `frames`)."""

from __future__ import annotations

from pixweave import hookimpl


@hookimpl
def register_exporters() -> dict[str, str]:
    """Register all exporters."""
    return {
        "png": "pixweave_export.export_settings:Png",
        "jpeg": "pixweave_export.export_settings:Jpeg",
        "svg": "pixweave_export.export_settings:Svg",
        "mp4": "pixweave_export.export_settings:Mp4",
        "gif": "pixweave_export.export_settings:Gif",
        "apng": "pixweave_export.export_settings:Apng",
        "webp": "pixweave_export.export_settings:Webp",
        "frames": "pixweave_export.export_settings:Frames",
    }
