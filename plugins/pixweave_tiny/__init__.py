"""Perceptor `tiny` and trainer `clip`: the small CLIP that ships with pixweave.

See MODEL_CARD.md in this folder.
"""

from __future__ import annotations

from pixweave import hookimpl


@hookimpl
def register_perceptors() -> dict[str, str]:
    """Register `tiny`."""
    return {"tiny": "pixweave_tiny.clip_settings:Tiny"}


@hookimpl
def register_trainers() -> dict[str, str]:
    """Register `clip`."""
    return {"clip": "pixweave_tiny.clip_settings:Clip"}
