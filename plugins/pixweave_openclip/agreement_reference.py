"""Reference embeddings, computed by open_clip itself, that the perceptor must agree with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import open_clip
import torch
import torch.nn.functional as F
from torch import Tensor

from pixweave_openclip import load_weights as weights
from pixweave_openclip import model_names as names


class Reference:
    """A perceptor made of open_clip's own code, in float32 on the CPU.

    The model of a tag is created by open_clip from the tag, including its activation function; no
    code of this plugin is used.
    """

    def __init__(self, model: str, pretrained: str | None) -> None:
        tagged = pretrained in open_clip.list_pretrained_tags_by_model(model)
        if tagged and pretrained and not names.is_file_name(pretrained):
            self.model: Any = open_clip.create_model(model, pretrained=pretrained).eval()
        else:
            self.model = weights.load(model, pretrained)
        pixels = self.model.visual.preprocess_cfg
        self.mean, self.std = (
            torch.tensor(pixels[key]).view(1, 3, 1, 1) for key in ("mean", "std")
        )
        self.tokenizer = weights.tokenizer(model)

    def encode_image(self, crops: Tensor) -> Tensor:
        """Unit vectors `[N, D]` of images `[N, 3, S, S]`, 0..1."""
        return F.normalize(self.model.encode_image((crops - self.mean) / self.std), dim=-1)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors `[P, D]` of the texts."""
        return F.normalize(self.model.encode_text(self.tokenizer(list(texts))), dim=-1)
