"""Perceptor `tiny`: the small CLIP that ships with pixweave; see MODEL_CARD.md beside this file."""

from __future__ import annotations

from pixweave import hookimpl


@hookimpl
def register_perceptors() -> dict[str, str]:
    """Offer `tiny`."""
    return {"tiny": "pixweave_tiny.clip_settings:Tiny"}


@hookimpl
def register_trainers() -> dict[str, str]:
    """Offer `clip`."""
    return {"clip": "pixweave_tiny.clip_settings:Clip"}
