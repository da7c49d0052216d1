"""Generator, codec and trainer `vqgan`: pictures made of learned codes; see MODEL_CARD.md."""

from __future__ import annotations

from pixweave import hookimpl


@hookimpl
def register_generators() -> dict[str, str]:
    """Offer `vqgan`."""
    return {"vqgan": "pixweave_vqgan.vqgan_settings:Vqgan"}


@hookimpl
def register_codecs() -> dict[str, str]:
    """Offer `vqgan`."""
    return {"vqgan": "pixweave_vqgan.vqgan_settings:VqganCodec"}


@hookimpl
def register_trainers() -> dict[str, str]:
    """Offer `vqgan`."""
    return {"vqgan": "pixweave_vqgan.vqgan_settings:VqganTrainer"}
