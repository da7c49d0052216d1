"""Generator, codec and trainer `vqgan`: pictures made of learned codes; see MODEL_CARD.md."""

from __future__ import annotations

from pixweave import Component, hookimpl
from pixweave_vqgan.vqgan_settings import Vqgan, VqganCodec, VqganTrainer


@hookimpl
def register_generators() -> dict[str, type[Component]]:
    """Offer `vqgan`."""
    return {"vqgan": Vqgan}


@hookimpl
def register_codecs() -> dict[str, type[Component]]:
    """Offer `vqgan`."""
    return {"vqgan": VqganCodec}


@hookimpl
def register_trainers() -> dict[str, type[Component]]:
    """Offer `vqgan`."""
    return {"vqgan": VqganTrainer}
