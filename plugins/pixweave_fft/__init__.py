"""Generator `fft`: an image parametrised by its Fourier spectrum."""

from __future__ import annotations

from pixweave import hookimpl


@hookimpl
def register_generators() -> dict[str, str]:
    """Register `fft`."""
    return {"fft": "pixweave_fft.fft_settings:Fft"}
