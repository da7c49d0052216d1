"""Perceptor `tiny`: the small CLIP that ships with pixweave; see MODEL_CARD.md beside this file."""

from __future__ import annotations

from pixweave import Component, hookimpl
from pixweave_tiny.clip_settings import Clip, Tiny


@hookimpl
def register_perceptors() -> dict[str, type[Component]]:
    """Offer `tiny`."""
    return {"tiny": Tiny}


@hookimpl
def register_trainers() -> dict[str, type[Component]]:
    """Offer `clip`."""
    return {"clip": Clip}
