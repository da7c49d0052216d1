"""The sampler `dalle`: samples codes for the texts, decodes them, and picks the best by CLIP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from pixweave_dalle.dalle_model import load_dalle

if TYPE_CHECKING:
    from pixweave.component import BuildContext
    from pixweave.protocols import Codec, Perceptor
    from pixweave_dalle.dalle_settings import DalleSampler

BATCH = 48
"""Images sampled in one batch."""


class DalleImageSampler:
    """Samples images for texts and keeps the best by CLIP score (Ramesh et al. 2021)."""

    def __init__(self, settings: DalleSampler, run: BuildContext) -> None:
        self.model = load_dalle().to(run.device)
        self.codec: Codec = run.make(settings.codec)
        self.perceptor: Perceptor = run.make(settings.perceptor)
        self.candidates, self.device = settings.candidates, run.device

    @torch.no_grad()
    def sample(self, prompts: Sequence[tuple[str, float]], rng: torch.Generator) -> Tensor:
        """Return the best image `[1,3,64,64]`, 0..1, for texts with weights.

        At least one weight must be above 0. `candidates` images are sampled for each text with a
        weight above 0; the perceptor picks the one that fits all texts best.
        """
        wanted = [text for text, weight in prompts if weight > 0 for _ in range(self.candidates)]
        batches = [wanted[start : start + BATCH] for start in range(0, len(wanted), BATCH)]
        codes = torch.cat([self.model.sample(batch, rng) for batch in batches])
        images = self.codec.decode(self.codec.look_up(codes)).clamp(0, 1)
        side = (self.perceptor.size,) * 2
        views = F.interpolate(images, size=side, mode="bilinear", antialias=True)
        texts = self.perceptor.encode_text([text for text, _ in prompts])
        weights = torch.tensor([weight for _, weight in prompts], device=self.device)
        scores = self.perceptor.encode_image(views) @ texts.T @ weights
        return images[scores.argmax()][None]
