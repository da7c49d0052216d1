"""The perceptor `tiny`: a small CLIP, the embedded one or one of the user's own."""

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
    """A small CLIP as a perceptor."""

    def __init__(self, weights: Path | None, run: BuildContext) -> None:
        self.model = load_tiny_clip(weights, run.text_only).to(run.device)
        self.device = run.device
        self.size = self.model.image_size
        self.bank = bank(weights)
        self.logit_scale = self.model.logit_scale
        self.templates = ("{}",)  # a template that it never saw costs most of its accuracy
        self.info = f"{weights.stem if weights else 'tiny CLIP'}, {self.size} px"

    def encode_image(self, crops: Tensor) -> Tensor:
        """Unit vectors of the crops; float32, since so small a model gains nothing from less."""
        return self.model.encode_image(crops)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors of the texts."""
        return self.model.encode_text(list(texts))

    def overflow(self, text: str) -> str:
        """The words that its context cannot hold."""
        return self.model.overflow(text)

    def features(self, images: Tensor) -> list[Tensor]:
        """What its layers make of pictures `[N, 3, size, size]`: `[N, places, C]` of each depth."""
        tower: Any = self.model.visual
        if hasattr(tower, "maps"):
            return [each.flatten(2).transpose(1, 2) for each in tower.maps(images)]
        x = tower.conv1(images).flatten(2).transpose(1, 2)
        x = torch.cat([tower.class_embedding.to(x.dtype).expand(len(x), 1, -1), x], 1)
        x = tower.ln_pre(x + tower.positional_embedding.to(x.dtype))
        found = [x]
        for block in tower.transformer.resblocks:
            found.append(x := block(x, None))
        return found
