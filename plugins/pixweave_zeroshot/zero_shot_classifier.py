"""The `zero_shot` classifier."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from pixweave.embedding.similarity import TOO_NEAR
from pixweave.errors import RunError
from pixweave.protocols import Scores
from pixweave_zeroshot import templates as texts

if TYPE_CHECKING:
    from pixweave.component import BuildContext
    from pixweave.protocols import Perceptor
    from pixweave_zeroshot.zero_shot_settings import ZeroShot


class ZeroShotJudge:
    """Scores images by the cosine similarity of their vectors to those of the labels."""

    def __init__(self, settings: ZeroShot, run: BuildContext) -> None:
        self.perceptor = settings.perceptor or next(iter(run.perceptors))
        self._encoder: Perceptor = run.perceptors[self.perceptor]
        self.size = self._encoder.size
        self.least = settings.unknown_below
        self.multi = settings.multi
        self.scale, self.bias = _temperature(self._encoder, settings.scale, self.perceptor)
        named = settings.texts()
        self.labels = tuple(named)
        patterns = _patterns(settings.patterns(), self._encoder)
        encode = partial(run.encode_texts, self.perceptor)
        self.weights = class_weights(encode, named, patterns)
        self._others: Tensor | None = None
        if self.bias is None and (self.multi or self.least is not None):
            captions = (
                settings.background or getattr(self._encoder, "bank", None) or texts.everyday()
            )
            self._others = encode(list(captions))
            self._far = (
                self._others @ self.weights < TOO_NEAR
            )  # [K, L]: captions that may compete with a label
        self.info = self._describe(len(patterns))

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Scores:
        """The scores of images `[N, 3, size, size]`, 0..1."""
        return self.judge(self._encoder.encode_image(images).float())

    @torch.no_grad()
    def judge(self, vectors: Tensor) -> Scores:
        """The scores of images, given their unit vectors `[N, D]` in the perceptor's space."""
        logits = self.scale * vectors.float() @ self.weights
        if self.bias is not None:
            each = (logits + self.bias).sigmoid()
            values = each if self.multi else logits.softmax(dim=1)
            return Scores(values, logits, each.amax(dim=1))
        if self._others is None:
            return Scores(logits.softmax(dim=1), logits)
        others = self.scale * vectors.float() @ self._others.T
        if self.multi:
            values = self._each(logits, others)
            return Scores(values, logits, values.amax(dim=1))
        against = _mean(others, self._far.all(dim=1))
        every = torch.ones_like(logits[0], dtype=torch.bool)
        return Scores(logits.softmax(dim=1), logits, (_mean(logits, every) - against).sigmoid())

    def _each(self, logits: Tensor, others: Tensor) -> Tensor:
        """Each label `[N, L]` against the background, as if both were equally likely."""
        columns = [logits[:, i] - _mean(others, self._far[:, i]) for i in range(logits.shape[1])]
        return torch.stack(columns, dim=1).sigmoid()

    def _describe(self, patterns: int) -> str:
        count = "1 template" if patterns == 1 else f"{patterns} templates"
        method = "the model's own sigmoid" if self.bias is not None else "softmax"
        if self._others is not None:
            method = f"softmax against {len(self._others)} other captions"
        elif not self.multi and self.least is None:
            method = "softmax"
        return f"{len(self.labels)} labels, {count}, {method}, scale {self.scale:.4g}"


def class_weights(
    encode: Callable[[list[str]], Tensor],
    named: Mapping[str, Sequence[str]],
    patterns: Sequence[str],
) -> Tensor:
    """Unit vectors `[D, L]` of the labels: the mean over their texts in all templates."""
    filled = [
        [p.replace("{}", text) for text in several for p in patterns] for several in named.values()
    ]
    vectors = encode([text for group in filled for text in group])
    groups = vectors.split([len(group) for group in filled])
    return F.normalize(torch.stack([group.mean(dim=0) for group in groups]), dim=1).T


def _patterns(setting: Sequence[str] | str, perceptor: Perceptor) -> Sequence[str]:
    if not isinstance(setting, str):
        return setting
    own = getattr(perceptor, "templates", None) if setting == "auto" else None
    return own or texts.templates("simple" if setting == "auto" else setting)


def _temperature(
    perceptor: Perceptor, setting: float | None, name: str
) -> tuple[float, float | None]:
    """The factor on cosines, and the bias of a model trained with a sigmoid loss, else None."""
    scale = setting if setting is not None else getattr(perceptor, "logit_scale", None)
    if scale is None:
        raise RunError(f"perceptor '{name}' has no logit_scale; set 'scale', such as 100 for CLIP")
    return float(scale), getattr(perceptor, "logit_bias", None)


def _mean(logits: Tensor, these: Tensor) -> Tensor:
    """The log of the mean of exp over the selected columns, `[N]`; -inf without any."""
    chosen = logits.masked_fill(~these, -math.inf)
    return chosen.logsumexp(dim=1) - math.log(max(int(these.sum()), 1))
