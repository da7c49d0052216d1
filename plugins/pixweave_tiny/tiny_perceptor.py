"""The perceptor `tiny`: a small CLIP, the embedded one or the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pixweave_tiny.clip_files import bank
from pixweave_tiny.clip_model import load_tiny_clip

if TYPE_CHECKING:
    from pixweave.component import BuildContext


class TinyPerceptor:
    """A small CLIP as a `pixweave.protocols.Perceptor`."""

    def __init__(self, weights: Path | None, run: BuildContext) -> None:
        self.model = load_tiny_clip(weights, run.text_only).to(run.device)
        self.device = run.device
        self.size = self.model.image_size
        self.bank = bank(weights)
        self.logit_scale = self.model.logit_scale
        self.templates = ("{}",)  # trained on bare captions: other templates cost accuracy
        self.info = f"{weights.stem if weights else 'tiny CLIP'}, {self.size} px"

    def encode_image(self, crops: Tensor) -> Tensor:
        """Unit vectors `[N, D]` of crops `[N, 3, size, size]`, 0..1.

        In float32: a model this small gains nothing from lower precision.
        """
        return self.model.encode_image(crops)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors `[P, D]` of the texts; text beyond the context length is cut."""
        return self.model.encode_text(list(texts))

    def overflow(self, text: str) -> str:
        """The part of a text beyond the context length; '' if all fits."""
        return self.model.overflow(text)

    def features(self, images: Tensor) -> list[Tensor]:
        """Features `[N, positions, C]` of every layer, of images `[N, 3, size, size]`."""
        tower: Any = self.model.visual
        if hasattr(tower, "maps"):
            return [maps.flatten(2).transpose(1, 2) for maps in tower.maps(images)]
        x = tower.conv1(images).flatten(2).transpose(1, 2)
        x = torch.cat([tower.class_embedding.to(x.dtype).expand(len(x), 1, -1), x], 1)
        x = tower.ln_pre(x + tower.positional_embedding.to(x.dtype))
        features = [x]
        for block in tower.transformer.resblocks:
            features.append(x := block(x, None))
        return features
