"""The `open_clip` perceptor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pixweave.errors import RunError
from pixweave_openclip import load_weights as weights
from pixweave_openclip.fast_vision_tower import FastTower, fits

_FITS = {"squash": "squash", "longest": "pad"}
"""open_clip's names for the modes of `Preprocessing`; its `shortest` is `crop`."""


class Perceptor:
    """A frozen open_clip model as a `pixweave.protocols.Perceptor`.

    Images are 0..1; they are normalised here with the mean and std of the model's training.
    `text_only` builds it without its image tower.
    """

    def __init__(
        self,
        model: str,
        pretrained: str | None,
        device: torch.device,
        dtype: torch.dtype,
        text_only: bool = False,
    ) -> None:
        instance: Any = weights.load(model, pretrained, text_only).to(device)
        self.tokenizer = weights.tokenizer(model)
        self.device = device
        size, pixels = instance.visual.image_size, instance.visual.preprocess_cfg
        height, width = size if isinstance(size, (tuple, list)) else (size, size)
        if height != width:
            raise RunError(f"{model} takes images of {width}x{height}; only square ones work")
        self.size = int(height)
        mean, std = pixels["mean"], pixels["std"]
        self.fit = _FITS.get(pixels.get("resize_mode", ""), "crop")
        self.method = pixels.get("interpolation", "bicubic")
        if text_only:
            instance.visual = self.tower = None
        elif fits(instance.visual):
            self.tower = FastTower(instance.visual, mean, std, dtype)
            instance.visual = None  # the fast tower has its weights
        else:
            self.tower = _plain_tower(instance.visual.to(dtype), mean, std, dtype)
        bias = getattr(instance, "logit_bias", None)
        self.logit_scale = float(instance.logit_scale.exp())
        self.logit_bias = None if bias is None else float(bias)
        self.model = instance
        kind = "text tower" if text_only else str(dtype).removeprefix("torch.")
        self.info = f"{model}, {self.size} px, {kind}"

    def encode_image(self, crops: Tensor) -> Tensor:
        """Unit vectors `[N, D]`, float32, of images `[N, 3, size, size]`; differentiable."""
        if self.tower is None:
            raise RunError("this perceptor was built for texts only")
        return F.normalize(self.tower(crops), dim=-1)

    @torch.no_grad()
    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors `[P, D]` of the texts; text beyond the context length is cut."""
        tokens = self.tokenizer(list(texts)).to(self.device)
        features: Tensor = self.model.encode_text(tokens)
        return F.normalize(features.float(), dim=-1)

    def overflow(self, text: str) -> str:
        """The words of a text from the first that exceeds the context length; '' if all fit."""
        words = text.split()
        if self._fits(words):
            return ""
        low, high = 0, len(words)  # the number of words that fit is in between
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self._fits(words[:middle]) else (low, middle)
        return " ".join(words[low:])

    def _fits(self, words: Sequence[str]) -> bool:
        text, tokenizer = " ".join(words), self.tokenizer
        if hasattr(tokenizer, "encode"):
            count = len(tokenizer.encode(text)) + 2  # the start and the end token
        else:
            cleaned = getattr(tokenizer, "clean_fn", str)(text)
            count = len(tokenizer.tokenizer(cleaned)["input_ids"])
        return bool(count <= tokenizer.context_length)


def _plain_tower(
    visual: Any, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype
) -> Any:
    """open_clip's own forward, for architectures that the fast tower does not support."""
    device = next(visual.parameters()).device
    centre, spread = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (mean, std))

    def tower(crops: Tensor) -> Tensor:
        features = visual(((crops - centre) / spread).to(dtype))
        return (features[0] if isinstance(features, tuple) else features).float()

    return tower
