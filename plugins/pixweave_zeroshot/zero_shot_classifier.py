"""The live `zero_shot` classifier."""

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
    """Labels as vectors, and what a picture's vector says about them."""

    def __init__(self, settings: ZeroShot, run: BuildContext) -> None:
        self.perceptor = settings.perceptor or next(iter(run.perceptors))
        self._eye: Perceptor = run.perceptors[self.perceptor]
        self.size = self._eye.size
        self.least = settings.unknown_below
        self.multi = settings.multi
        self.scale, self.bias = _temperature(self._eye, settings.scale, self.perceptor)
        named = settings.texts()
        self.labels = tuple(named)
        patterns = _patterns(settings.patterns(), self._eye)
        encode = partial(run.encode_texts, self.perceptor)
        self.weights = class_weights(encode, named, patterns)
        self._others: Tensor | None = None
        if self.bias is None and (self.multi or self.least is not None):
            captions = settings.background or getattr(self._eye, "bank", None) or texts.everyday()
            self._others = encode(list(captions))
            self._far = self._others @ self.weights < TOO_NEAR  # [K, L]: may stand against it
        self.info = self._described(len(patterns))

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Scores:
        """The scores of pictures `[N, 3, size, size]`, 0..1."""
        return self.judge(self._eye.encode_image(images).float())

    @torch.no_grad()
    def judge(self, vectors: Tensor) -> Scores:
        """The scores of pictures by their unit vectors `[N, D]` in the perceptor's space."""
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

    def _described(self, patterns: int) -> str:
        count = "1 template" if patterns == 1 else f"{patterns} templates"
        way = "the model's own sigmoid" if self.bias is not None else "softmax"
        if self._others is not None:
            way = f"softmax against {len(self._others)} other captions"
        elif not self.multi and self.least is None:
            way = "softmax"
        return f"{len(self.labels)} labels, {count}, {way}, scale {self.scale:.4g}"


def class_weights(
    encode: Callable[[list[str]], Tensor],
    named: Mapping[str, Sequence[str]],
    patterns: Sequence[str],
) -> Tensor:
    """Unit vectors `[D, L]` of the labels: the mean over their texts in every template."""
    filled = [
        [p.replace("{}", text) for text in several for p in patterns] for several in named.values()
    ]
    vectors = encode([text for group in filled for text in group])
    groups = vectors.split([len(group) for group in filled])
    return F.normalize(torch.stack([group.mean(dim=0) for group in groups]), dim=1).T


def _patterns(found: Sequence[str] | str, perceptor: Perceptor) -> Sequence[str]:
    if not isinstance(found, str):
        return found
    own = getattr(perceptor, "templates", None) if found == "auto" else None
    return own or texts.templates("simple" if found == "auto" else found)


def _temperature(perceptor: Perceptor, wish: float | None, name: str) -> tuple[float, float | None]:
    """The factor on cosines, and what is added where the model learnt by a sigmoid."""
    scale = wish if wish is not None else getattr(perceptor, "logit_scale", None)
    if scale is None:
        raise RunError(
            f"perceptor '{name}' has no logit_scale of its own; set 'scale', such as 100 for a CLIP"
        )
    return float(scale), getattr(perceptor, "logit_bias", None)


def _mean(logits: Tensor, these: Tensor) -> Tensor:
    """The mean of exp over some columns, as one logit `[N]`; without any, as good as nothing."""
    chosen = logits.masked_fill(~these, -math.inf)
    return chosen.logsumexp(dim=1) - math.log(max(int(these.sum()), 1))
