"""Sampler and trainer `dalle`: a transformer writes the codes of a VQGAN after a text (DALL-E)."""

from __future__ import annotations

from pixweave import Component, hookimpl
from pixweave_dalle.dalle_settings import Dalle, DalleSampler


@hookimpl
def register_samplers() -> dict[str, type[Component]]:
    """Offer `dalle`."""
    return {"dalle": DalleSampler}


@hookimpl
def register_trainers() -> dict[str, type[Component]]:
    """Offer `dalle`."""
    return {"dalle": Dalle}
