"""Generator `fft`: an image parametrised by its Fourier spectrum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pixweave import Component, Field, Issue
from pixweave.recipe.sample_setting import SAMPLE, check_sample

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pixweave.component import BuildContext, RecipeInfo


class Fft(Component):
    """An image as a Fourier spectrum in decorrelated colours: soft, organic, with detail anywhere.

    Amplitudes fall with frequency as in photographs, so that large shapes form before small ones at
    any image size (Olah, Mordvintsev and Schubert 2017: lucid).
    """

    can: ClassVar[frozenset[str]] = frozenset({"start_from", "latent", "alpha"})
    natural_rate: ClassVar[dict[str, float]] = {"0": 0.3, "end": 0.02}

    decay: float = Field(
        2.25, ge=0, le=4, description="how fast amplitudes fall with frequency: 1 crisp, 2 cloudy"
    )
    saturation: float = Field(
        2.5, ge=0, le=5, description="colour saturation; 0: grey, 1: as in photographs"
    )
    start: float = Field(0.03, ge=0, le=4, description="contrast of the initial noise")
    alpha: bool = Field(False, description="allow transparency")
    sample: bool = Field(False, description=SAMPLE)

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """A sample needs a prompt."""
        if self.sample:
            yield from check_sample(recipe)

    def build(self, run: BuildContext) -> Any:
        """The generator; see `pixweave_fft.spectrum`."""
        from pixweave_fft.spectrum import Spectrum

        return Spectrum(self, run)
