"""Generator `fft`: a picture made of waves, from long to short."""

from __future__ import annotations

from pixweave import Component, hookimpl
from pixweave_fft.fft_settings import Fft


@hookimpl
def register_generators() -> dict[str, type[Component]]:
    """Offer `fft`."""
    return {"fft": Fft}
