"""Self-check: whether a perceptor agrees with another implementation of the same model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from pixweave.embedding.embedder import Embedder, unit_vectors
from pixweave.errors import RunError

if TYPE_CHECKING:
    Array = np.ndarray[Any, Any]

SAME = 0.9999
"""Least cosine in float32: two right ways come to within 1e-6 of 1, a wrong QuickGELU to .9998."""
NEAR = 0.99
"""Least cosine in a lower precision: bf16 keeps .996, 8 bits .985 or less."""

_PROBES = [
    "a photo of a cat.",
    "two dogs, one of them asleep",
    "Sunset OVER the sea!",
    "x",
    "0123456789",
    "a very long caption " * 20,
    "naïve café",
    "",
]


@dataclass(frozen=True)
class Agreement:
    """The least cosines between an encoder and its reference over `count` pictures and texts.

    Of vectors from which the mean of all was taken: what all have in common would hide differences.
    `exact` is that of the pictures in float32, `precision` what the others were encoded in.
    """

    count: int
    pictures: float
    texts: float
    exact: float
    precision: str = "float32"

    @property
    def ok(self) -> bool:
        """Whether all agree."""
        return self.verdict == "ok"

    @property
    def verdict(self) -> str:
        """`ok`, or what is wrong."""
        if self.exact < SAME:
            return (
                f"in float32 pictures agree to {self.exact:.6f}, and {SAME} is expected: "
                "activation, pixels or weights differ"
            )
        if self.texts < SAME:
            return f"{SAME} is expected of texts: tokenizer, padding or weights differ"
        if self.pictures < NEAR:
            return f"{NEAR} is expected: {self.precision} is too coarse for it, use float32"
        return "ok"


def check_agreement(embedder: Embedder, count: int = 16) -> Agreement:
    """How well it agrees with its component's `reference()`, on made-up pictures and texts.

    A wrong activation, a tokenizer that pads otherwise, a product in too low a precision give
    plausible vectors and worse results; nothing else would show it. In a lower precision the
    pictures are encoded in float32 too: a wrong activation moves vectors by less than bf16
    does, and is seen there alone. RunError where the component has no reference.
    """
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        reference = embedder.part.settings.reference()
    if reference is None:
        raise RunError(f"perceptor '{embedder.part.use}' has no reference to be compared with")
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 6, 6, 3)).astype(np.float32)
    side = embedder.perceptor.size
    pixels = coarse.repeat(-(-side // 6), 1).repeat(-(-side // 6), 2)[:, :side, :side]
    pixels = (pixels + rng.normal(0, 8, pixels.shape)).clip(0, 255).astype(np.uint8)
    texts = (_PROBES * count)[:count]
    with torch.inference_mode():
        crops = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
        seen = unit_vectors(reference.encode_image(crops), embedder.part.use)
        said = unit_vectors(reference.encode_text(texts), embedder.part.use)
    pictures = least = least_cosine(embedder.encode_pictures(pixels), seen)
    if embedder.context.dtype != torch.float32:
        plain = Embedder(
            replace(embedder.recipe, precision="float32"), embedder.part, embedder.open_context
        )
        least = least_cosine(plain.encode_pictures(pixels), seen)
    precision = str(embedder.context.dtype).removeprefix("torch.")
    return Agreement(
        count, pictures, least_cosine(embedder.encode_texts(texts), said), least, precision
    )


def least_cosine(ours: Array, theirs: Array) -> float:
    """The least cosine between rows, after the mean of theirs is taken from both."""
    mean = theirs.mean(0)
    one, two = ours - mean, theirs - mean
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    return float(((one * two).sum(1) / np.maximum(lengths, 1e-12)).min())
