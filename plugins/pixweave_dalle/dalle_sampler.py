"""The sampler `dalle`: codes after the texts, decoded, and the picture that CLIP likes best."""

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
"""Pictures that are sampled together."""


class DallePictures:
    """Draws pictures for texts and keeps the best (re-ranking, Ramesh et al. 2021)."""

    def __init__(self, settings: DalleSampler, run: BuildContext) -> None:
        self.model = load_dalle().to(run.device)
        self.codec: Codec = run.make(settings.codec)
        self.perceptor: Perceptor = run.make(settings.perceptor)
        self.candidates, self.device = settings.candidates, run.device

    @torch.no_grad()
    def sample(self, prompts: Sequence[tuple[str, float]], rng: torch.Generator) -> Tensor:
        """Return `[1,3,64,64]`, 0..1, for texts with their weights; there is one above 0 or more.

        There are `candidates` pictures for each text that is wanted; the perceptor takes the best
        for all texts together.
        """
        wanted = [text for text, weight in prompts if weight > 0 for _ in range(self.candidates)]
        batches = [wanted[start : start + BATCH] for start in range(0, len(wanted), BATCH)]
        codes = torch.cat([self.model.sample(batch, rng) for batch in batches])
        pictures = self.codec.decode(self.codec.look_up(codes)).clamp(0, 1)
        side = (self.perceptor.size,) * 2
        views = F.interpolate(pictures, size=side, mode="bilinear", antialias=True)
        texts = self.perceptor.encode_text([text for text, _ in prompts])
        weights = torch.tensor([weight for _, weight in prompts], device=self.device)
        liked = self.perceptor.encode_image(views) @ texts.T @ weights
        return pictures[liked.argmax()][None]
