"""Generator `fft`: a picture made of waves, from long to short."""

from __future__ import annotations

from pixweave import hookimpl


@hookimpl
def register_generators() -> dict[str, str]:
    """Offer `fft`."""
    return {"fft": "pixweave_fft.fft_settings:Fft"}
