"""Two classifiers of different architecture that label an image with a prompt or a distractor."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

HERE = Path(__file__).parent


class Judge(nn.Module):
    """Classify images [B,3,H,W], RGB 0..1, into ``labels``: prompts and distractors."""

    side: int

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__()
        self.labels = tuple(labels)
        self.place = {label: index for index, label in enumerate(self.labels)}

    def features(self, image: Tensor) -> Tensor:
        """Return logits [B, labels] for ``image`` [B,3,side,side] of -1..1."""
        raise NotImplementedError

    def forward(self, image: Tensor) -> Tensor:
        """Return logits [B, labels] for ``image`` [B,3,H,W], RGB 0..1, any size."""
        if image.shape[-2:] != (self.side, self.side):
            image = F.interpolate(
                image, size=(self.side, self.side), mode="bilinear", antialias=True
            )
        return self.features(image * 2 - 1)

    @torch.no_grad()
    def steady(self, image: Tensor) -> Tensor:
        """Return probabilities [B, labels], the mean of five slightly shifted, softened views."""
        views = [image]
        side = image.shape[-1]
        for shift in (-0.04, 0.04):
            views.append(image.roll(round(shift * side), -1))
            soft = F.interpolate(F.avg_pool2d(image, 2), size=image.shape[-2:], mode="bilinear")
            views.append(soft.roll(round(shift * side), -2))
        return torch.stack([self(view).softmax(1) for view in views]).mean(0).clamp(min=1e-9)


class Patches(Judge):
    """Three strided convolutions and a transformer of four layers; 48 px."""

    side = 48
    width = 128

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__(labels)
        self.stem = nn.Sequential(
            nn.Conv2d(3, 32, 4, stride=2, padding=1),
            nn.GroupNorm(4, 32),
            nn.GELU(),
            nn.Conv2d(32, 64, 4, stride=2, padding=1),
            nn.GroupNorm(8, 64),
            nn.GELU(),
            nn.Conv2d(64, self.width, 4, stride=2, padding=1),
        )
        self.places = nn.Parameter(torch.randn(1, (self.side // 8) ** 2, self.width) * 0.02)
        layer = nn.TransformerEncoderLayer(
            self.width,
            4,
            3 * self.width,
            dropout=0.0,
            activation="gelu",
            batch_first=True,
            norm_first=True,
        )
        self.blocks = nn.TransformerEncoder(layer, 4, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(self.width)
        self.head = nn.Linear(self.width, len(self.labels))

    def features(self, image: Tensor) -> Tensor:
        x = self.stem(image).flatten(2).transpose(1, 2) + self.places
        return self.head(self.norm(self.blocks(x)).mean(1))  # type: ignore[no-any-return]


class Stages(Judge):
    """A plain convolutional network, eight layers, the mean and the maximum of the last; 64 px."""

    side = 64

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__(labels)
        widths = (3, 24, 48, 96, 160)
        layers: list[nn.Module] = []
        for before, width in pairwise(widths):
            for wide, stride in ((before, 2), (width, 1)):
                layers += [
                    nn.Conv2d(wide, width, 3, stride=stride, padding=1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.LeakyReLU(0.1),
                ]
        self.layers = nn.Sequential(*layers)
        self.head = nn.Linear(2 * widths[-1], len(self.labels))

    def features(self, image: Tensor) -> Tensor:
        x = self.layers(image)
        return self.head(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))  # type: ignore[no-any-return]


JUDGES: dict[str, type[Judge]] = {"patches": Patches, "stages": Stages}


class Panel:
    """Both judges; their score is the mean of their log-probabilities."""

    def __init__(self, judges: Sequence[Judge]) -> None:
        self.judges = tuple(judges)
        self.labels = self.judges[0].labels

    def scores(self, image: Tensor) -> Tensor:
        """Return the mean log-probability [B, labels]."""
        return torch.stack([judge.steady(image).log() for judge in self.judges]).mean(0)

    def rank(self, image: Tensor, prompts: Sequence[str]) -> Tensor:
        """Return scores [B, prompts] (the highest of a row is the best match).

        Raises KeyError for an unknown prompt; see ``name`` for the strict result.
        """
        return self.scores(image)[:, [self.judges[0].place[prompt] for prompt in prompts]]

    def name(self, image: Tensor) -> list[str]:
        """Return the most likely label of each image, including distractors: the strict test."""
        return [self.labels[index] for index in self.scores(image).argmax(1)]


def load_judge(name: str) -> Judge:
    """Return one trained judge, `patches` or `stages`, frozen, in eval mode."""
    judge = JUDGES[name](json.loads((HERE / "labels.json").read_text(encoding="utf-8")))
    weights = load_file(HERE / f"{name}.safetensors")
    judge.load_state_dict(
        {
            key: value.float() if value.is_floating_point() else value
            for key, value in weights.items()
        }
    )
    return judge.eval().requires_grad_(False)


def load_panel() -> Panel:
    """Return both judges."""
    return Panel([load_judge(name) for name in JUDGES])
