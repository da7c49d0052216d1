"""Generator `fft`: a picture made of waves, from long to short."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pixweave import Component, Field, hookimpl

if TYPE_CHECKING:
    from pixweave.run import Run


class Fft(Component):
    """A picture as the sum of waves in decorrelated colours: soft, organic, with detail anywhere.

    The strength of a wave falls with its frequency as in photographs, so that large shapes form
    before small ones at any size of the picture (Olah, Mordvintsev and Schubert 2017: lucid).
    """

    can: ClassVar[frozenset[str]] = frozenset({"start_from", "alpha"})
    natural_rate: ClassVar[dict[str, float]] = {"0": 0.6, "end": 0.05}

    decay: float = Field(
        1.75, ge=0, le=4, description="how fast waves weaken with frequency: 1 crisp, 2 cloudy"
    )
    saturation: float = Field(
        1.0, ge=0, le=5, description="strength of the colours; 0 is grey, 1 as in photographs"
    )
    start: float = Field(0.03, ge=0, le=4, description="contrast of the noise it starts from")
    alpha: bool = Field(False, description="parts may be transparent")

    def build(self, run: Run) -> Any:
        """The live spectrum; see `pixweave_fft.spectrum`."""
        from pixweave_fft.spectrum import Spectrum

        return Spectrum(self, run)


@hookimpl
def register_generators() -> dict[str, type[Component]]:
    """Offer `fft`."""
    return {"fft": Fft}
