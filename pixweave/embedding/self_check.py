"""Self-check: compares a perceptor with another implementation of the same model."""

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
"""Minimum cosine in float32: correct implementations give 1 - 1e-6, a wrong QuickGELU .9998."""
NEAR = 0.99
"""Minimum cosine in a lower precision: bf16 gives .996, 8 bits .985 or less."""

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
    """The minimum cosines between an encoder and its reference, over `count` images and texts.

    The mean of all vectors is subtracted first, because what they have in common would hide
    differences. `exact` is the minimum of the images in float32; `pictures` that in `precision`.
    """

    count: int
    pictures: float
    texts: float
    exact: float
    precision: str = "float32"

    @property
    def ok(self) -> bool:
        """Whether all minimum cosines are high enough."""
        return self.verdict == "ok"

    @property
    def verdict(self) -> str:
        """`ok`, or a description of the first difference."""
        if self.exact < SAME:
            return (
                f"in float32 the minimum cosine of images is {self.exact:.6f}, expected {SAME}: "
                "activation, preprocessing or weights differ"
            )
        if self.texts < SAME:
            return f"expected {SAME} for texts: tokenizer, padding or weights differ"
        if self.pictures < NEAR:
            return f"expected {NEAR}: {self.precision} is too coarse for this model, use float32"
        return "ok"


def check_agreement(embedder: Embedder, count: int = 16) -> Agreement:
    """How well it agrees with its component's `reference()`, on synthetic images and texts.

    A wrong activation, different padding in the tokenizer, or too low a precision give plausible
    vectors but worse results, and no other check detects it. In a lower precision the images are
    encoded in float32 too: a wrong activation changes vectors by less than bf16 does, and is only
    detectable there. RunError if the component has no reference.
    """
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        reference = embedder.part.settings.reference()
    if reference is None:
        raise RunError(f"perceptor '{embedder.part.use}' has no reference to compare with")
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 6, 6, 3)).astype(np.float32)
    side = embedder.perceptor.size
    pixels = coarse.repeat(-(-side // 6), 1).repeat(-(-side // 6), 2)[:, :side, :side]
    pixels = (pixels + rng.normal(0, 8, pixels.shape)).clip(0, 255).astype(np.uint8)
    texts = (_PROBES * count)[:count]
    with torch.inference_mode():
        crops = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
        image_vectors = unit_vectors(reference.encode_image(crops), embedder.part.use)
        text_vectors = unit_vectors(reference.encode_text(texts), embedder.part.use)
    pictures = exact = least_cosine(embedder.encode_pictures(pixels), image_vectors)
    if embedder.context.dtype != torch.float32:
        recipe = replace(embedder.recipe, precision="float32")
        float32 = Embedder(lambda: recipe, embedder.part, embedder.open_context)
        exact = least_cosine(float32.encode_pictures(pixels), image_vectors)
    precision = str(embedder.context.dtype).removeprefix("torch.")
    text_cosine = least_cosine(embedder.encode_texts(texts), text_vectors)
    return Agreement(count, pictures, text_cosine, exact, precision)


def least_cosine(ours: Array, theirs: Array) -> float:
    """The minimum cosine between rows, after subtracting the mean of `theirs` from both."""
    mean = theirs.mean(0)
    one, two = ours - mean, theirs - mean
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    return float(((one * two).sum(1) / np.maximum(lengths, 1e-12)).min())
