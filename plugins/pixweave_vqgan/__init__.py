"""Generator, codec and trainer `vqgan`: images decoded from learned codes; see MODEL_CARD.md."""

from __future__ import annotations

from pixweave import hookimpl


@hookimpl
def register_generators() -> dict[str, str]:
    """Register `vqgan`."""
    return {"vqgan": "pixweave_vqgan.vqgan_settings:Vqgan"}


@hookimpl
def register_codecs() -> dict[str, str]:
    """Register `vqgan`."""
    return {"vqgan": "pixweave_vqgan.vqgan_settings:VqganCodec"}


@hookimpl
def register_trainers() -> dict[str, str]:
    """Register `vqgan`."""
    return {"vqgan": "pixweave_vqgan.vqgan_settings:VqganTrainer"}
