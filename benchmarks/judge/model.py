"""A small convolution-stem transformer that names a picture among the prompts and distractors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

HERE = Path(__file__).parent
SIZE = 48  # px, what the network sees
WIDTH = 128


class Judge(nn.Module):
    """Classify pictures into ``labels``: the prompts, and many things that they are not."""

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__()
        self.labels = tuple(labels)
        self.stem = nn.Sequential(
            nn.Conv2d(3, 32, 4, stride=2, padding=1),
            nn.GroupNorm(4, 32),
            nn.GELU(),
            nn.Conv2d(32, 64, 4, stride=2, padding=1),
            nn.GroupNorm(8, 64),
            nn.GELU(),
            nn.Conv2d(64, WIDTH, 4, stride=2, padding=1),
        )
        self.places = nn.Parameter(torch.randn(1, (SIZE // 8) ** 2, WIDTH) * 0.02)
        layer = nn.TransformerEncoderLayer(
            WIDTH, 4, 3 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, len(self.labels))

    def forward(self, image: Tensor) -> Tensor:
        """Return logits [B, labels] for ``image`` [B,3,H,W], RGB 0..1, any size."""
        if image.shape[-2:] != (SIZE, SIZE):
            image = F.interpolate(image, size=(SIZE, SIZE), mode="bilinear", antialias=True)
        x = self.stem(image * 2 - 1).flatten(2).transpose(1, 2) + self.places
        return self.head(self.norm(self.blocks(x)).mean(1))  # type: ignore[no-any-return]

    @torch.no_grad()
    def rank(self, image: Tensor, prompts: Sequence[str]) -> Tensor:
        """Return log-probabilities [B, prompts] among all labels; unknown prompts are a KeyError.

        The best of a row is the prompt it resembles most; see ``name`` for the strict answer.
        """
        places = {label: index for index, label in enumerate(self.labels)}
        scores = self.steady(image).log()
        return scores[:, [places[prompt] for prompt in prompts]]

    @torch.no_grad()
    def name(self, image: Tensor) -> list[str]:
        """Return the likeliest label of each picture, distractors included: the strict test."""
        return [self.labels[index] for index in self.steady(image).argmax(1)]

    def steady(self, image: Tensor) -> Tensor:
        """Return probabilities [B, labels], the mean of five slightly shifted, softened views."""
        views = [image]
        side = image.shape[-1]
        for shift in (-0.04, 0.04):
            views.append(image.roll(round(shift * side), -1))
            views.append(
                F.interpolate(F.avg_pool2d(image, 2), size=image.shape[-2:], mode="bilinear").roll(
                    round(shift * side), -2
                )
            )
        return torch.stack([self(view).softmax(1) for view in views]).mean(0).clamp(min=1e-9)


def load_judge(path: Path | None = None) -> Judge:
    """Return the trained judge, frozen, in eval mode."""
    judge = Judge(json.loads((HERE / "labels.json").read_text(encoding="utf-8")))
    weights = load_file(path or HERE / "judge.safetensors")
    judge.load_state_dict({key: value.float() for key, value in weights.items()})
    return judge.eval().requires_grad_(False)
