"""Embedder: encodes images and texts with a perceptor, outside of a run.

Losses, classifiers and searches all use the same perceptor plugins; this is the entry point for
code that has files instead of a run. Nothing is built, and torch is not imported, before the first
image or text is encoded: a search whose text vector is cached needs neither.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from pixweave.component import Part
from pixweave.embedding.text_embedding_cache import cached_vectors, identity_of, lasting_identity
from pixweave.errors import PluginError
from pixweave.loading import Preprocessing

if TYPE_CHECKING:
    import numpy as np
    import torch

    from pixweave.protocols import Perceptor
    from pixweave.recipe import Recipe

    Array = np.ndarray[Any, Any]


class PerceptorContext(Protocol):
    """Builds perceptors; implemented by `pixweave.engine.context.Context`."""

    @property
    def device(self) -> torch.device:
        """The device on which they compute."""

    @property
    def dtype(self) -> torch.dtype:
        """The precision in which they compute."""

    def build(self, part: Part) -> Any:
        """Build a perceptor; equal settings give the same instance."""


OpenContext = Callable[["Recipe", bool], PerceptorContext]
"""Opens a context for a recipe; True: only for texts, so that image towers may be left out."""


class Embedder:
    """Encodes images and texts as unit vectors with one perceptor; made by `open_embedder`.

    If texts come first, the perceptor is built with `text_only`, so that it may leave its image
    tower out. When an image follows, the whole perceptor is built.
    """

    def __init__(
        self, read_recipe: Callable[[], Recipe], part: Part, open_context: OpenContext
    ) -> None:
        self._read_recipe, self.part, self.open_context = read_recipe, part, open_context
        self._whole = False
        self.built: Perceptor | None = None
        """The perceptor that was built last, whole or only for texts; None: none yet."""

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe that it is built from, read on first access; RecipeError if it is invalid."""
        return self._read_recipe()

    @cached_property
    def identity(self) -> str:
        """Equal for comparable vectors; see `identity_of`."""
        return identity_of(self.part)

    @property
    def perceptor(self) -> Perceptor:
        """The whole perceptor, built on first access."""
        self._whole = True
        self.built = perceptor = self._build(self.context)
        return perceptor

    @property
    def info(self) -> str:
        """A short line: the perceptor, its precision and the device."""
        name = getattr(self.perceptor, "info", self.part.use)
        return f"{name}, {self.context.device}"

    @cached_property
    def context(self) -> PerceptorContext:
        """The context in which the whole perceptor is built; this imports torch."""
        return self.open_context(self.recipe, False)

    @cached_property
    def _text_context(self) -> PerceptorContext:
        return self.open_context(self.recipe, True)

    def preprocessing(
        self, background: tuple[int, int, int] = (255, 255, 255), frames: int = 1
    ) -> Preprocessing:
        """How images are read for it: its size, and its `fit` and `method` if it has them."""
        fit: Any = getattr(self.perceptor, "fit", "crop")
        method: Any = getattr(self.perceptor, "method", "bicubic")
        return Preprocessing(self.perceptor.size, fit, method, background, frames)

    def encode_pictures(self, pixels: Array) -> Array:
        """Unit vectors float32 `[N, D]` of images uint8 `[N, S, S, 3]`; no gradient."""
        import torch

        crops = torch.from_numpy(pixels).to(self.context.device).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            return unit_vectors(self.perceptor.encode_image(crops.contiguous()), self.part.use)

    def encode_texts(self, texts: Sequence[str]) -> Array:
        """Unit vectors float32 `[P, D]` of texts."""
        import torch

        context = self.context if self._whole else self._text_context
        self.built = perceptor = self._build(context)
        with torch.inference_mode():
            return unit_vectors(perceptor.encode_text(list(texts)), self.part.use)

    def _build(self, context: PerceptorContext) -> Perceptor:
        perceptor: Perceptor = context.build(self.part)
        return perceptor

    def texts(self, texts: Sequence[str]) -> Array:
        """Unit vectors float32 `[P, D]` of texts, from the cache on disk where it has them."""
        return cached_vectors(lasting_identity(self.part), texts, self.encode_texts)


def unit_vectors(vectors: torch.Tensor, name: str) -> Array:
    """The vectors in float32 on the CPU, scaled to length 1; PluginError for 0 and NaN vectors."""
    import torch

    vectors = vectors.detach().float()
    lengths = vectors.norm(dim=1, keepdim=True)
    if not torch.isfinite(lengths).all() or (lengths == 0).any():
        raise PluginError(f"perceptor '{name}' returned a vector that is 0 or NaN")
    return (vectors / lengths).cpu().numpy()
