"""The `fft` generator: a Fourier spectrum, its decay with frequency, and its colour transform."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pixweave.engine.sample_start import sampled_start

if TYPE_CHECKING:
    from pixweave.component import BuildContext
    from pixweave_fft.fft_settings import Fft

COLOURS = ((0.26, 0.09, 0.02), (0.27, 0.00, -0.05), (0.27, -0.09, 0.03))
"""Matrix square root of the RGB covariance of ImageNet, as in lucid."""
EDGE = 2e-3
"""Distance to black and white that a start image is clamped to: the sigmoid never reaches them."""
GENTLE = {"0": 0.03, "end": 0.01}
"""The learning rate after a sampled start, which has most of its shapes already."""


class Spectrum:
    """A spectrum `[1, C, H, W // 2 + 1, 2]`, real and imaginary, shown as an image `[1, C, H, W]`.

    The parameters are in units of the amplitude that each frequency has in a photograph, so that an
    optimisation step changes low frequencies much and high ones little. C is 4 with alpha, else 3.
    """

    def __init__(self, settings: Fft, run: BuildContext) -> None:
        self.size = run.size
        width, height = run.size
        self.weights = falloff(width, height, settings.decay).to(run.device)
        self.colours = _colours(settings).to(run.device)
        shape = (1, len(self.colours), *self.weights.shape, 2)
        rng = run.rng("generator/start")
        noise = torch.randn(shape, generator=rng) * settings.start
        if settings.alpha:
            noise[:, 3, 0, 0, 0] += 2 / float(self.weights[0, 0]) * (width * height) ** 0.5
        self.waves = noise.to(run.device).requires_grad_()
        if settings.sample and (first := sampled_start(run, rng)) is not None:
            self.natural_rate = GENTLE
            self.start_from(first)
        self.info = f"{self.weights.numel()} waves, decay {settings.decay:g}"

    def parameters(self) -> list[Tensor]:
        """The spectrum."""
        return [self.waves]

    def image(self) -> Tensor:
        """The image: the inverse transform, mixed to RGB, mapped to 0..1 by a sigmoid."""
        width, height = self.size
        spectrum = torch.view_as_complex(self.waves) * self.weights
        planes = torch.fft.irfft2(spectrum, s=(height, width), norm="ortho")
        return torch.einsum("ij,bjhw->bihw", self.colours, planes).sigmoid()

    def constrain(self) -> None:
        """Do nothing: every spectrum is a valid image."""

    def start_from(self, image: Tensor) -> None:
        """Set the spectrum to that of `image`; an image without alpha counts as opaque."""
        with torch.no_grad():
            if image.shape[1] == 3:
                image = torch.cat([image, torch.ones_like(image[:, :1])], 1)
            logits = torch.logit(image[:, : len(self.colours)], EDGE)
            planes = torch.einsum("ij,bjhw->bihw", torch.linalg.pinv(self.colours), logits)
            spectrum = torch.fft.rfft2(planes, norm="ortho") / self.weights
            self.waves.copy_(torch.view_as_real(spectrum))

    def latents(self) -> Tensor:
        """The spectrum, in units of the amplitudes of photographs."""
        return self.waves

    def state_dict(self) -> dict[str, Tensor]:
        """The spectrum."""
        return {"waves": self.waves.detach().clone()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set the spectrum; its shape must be that of this image."""
        with torch.no_grad():
            self.waves.copy_(state["waves"])


def falloff(width: int, height: int, decay: float) -> Tensor:
    """The amplitude of each frequency, `[H, W // 2 + 1]`.

    Frequency to the power of -decay; frequency 0, the mean brightness, counts as the lowest other
    one. Scaled so that parameters of variance 1 give pixels of about variance 1.
    """
    across, down = torch.fft.rfftfreq(width), torch.fft.fftfreq(height)
    frequency = torch.hypot(across[None], down[:, None]).clamp(min=1 / max(width, height))
    weights = frequency**-decay
    twice = torch.full_like(weights, 2.0)  # in a real image all others occur twice
    twice[:, 0] = 1
    return weights / (2 * (twice * weights**2).sum() / (width * height)).sqrt()


def _colours(settings: Fft) -> Tensor:
    """The matrix from decorrelated planes to colour channels; the first plane is brightness."""
    mixed = torch.tensor(COLOURS)
    mixed = mixed / mixed.norm(dim=0).max()
    mixed[:, 1:] *= settings.saturation
    if not settings.alpha:
        return mixed
    return torch.block_diag(mixed, torch.ones(1, 1))
