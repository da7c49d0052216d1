"""Sampler and trainer `dalle`: a transformer that predicts VQGAN codes from a text (DALL-E)."""

from __future__ import annotations

from pixweave import hookimpl


@hookimpl
def register_samplers() -> dict[str, str]:
    """Register `dalle`."""
    return {"dalle": "pixweave_dalle.dalle_settings:DalleSampler"}


@hookimpl
def register_trainers() -> dict[str, str]:
    """Register `dalle`."""
    return {"dalle": "pixweave_dalle.dalle_settings:Dalle"}
