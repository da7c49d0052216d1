"""Embedder: a perceptor for files and texts, outside of a run.

Losses, classifiers and searches all see with the same perceptor plugins; this is the way in for
those that have files instead of a run. Nothing is built, and torch is not imported, before the
first picture or text is encoded: a search whose text vector is known needs neither.
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
    """Where perceptors are built; `pixweave.engine.context.Context` is one."""

    @property
    def device(self) -> torch.device:
        """Where they compute."""

    @property
    def dtype(self) -> torch.dtype:
        """In which precision."""

    def build(self, part: Part) -> Any:
        """Make one; of those with equal settings there is one."""


OpenContext = Callable[["Recipe", bool], PerceptorContext]
"""Opens a context for a recipe; True: for texts alone, so that image towers may be left out."""


class Embedder:
    """Pictures and texts to unit vectors, by one perceptor; made by `open_embedder`.

    Where texts come first, the perceptor is built for texts alone: one that heeds it leaves its
    image tower out. It is built anew, whole, when a picture comes after all.
    """

    def __init__(self, recipe: Recipe, part: Part, open_context: OpenContext) -> None:
        self.recipe, self.part, self.open_context = recipe, part, open_context
        self._whole = False
        self.built: Perceptor | None = None
        """The perceptor that was built last, for texts alone or whole; None: none yet."""

    @cached_property
    def identity(self) -> str:
        """Equal where vectors may be compared; see `identity_of`."""
        return identity_of(self.part)

    @property
    def perceptor(self) -> Perceptor:
        """The whole perceptor, built when first asked for."""
        self._whole = True
        self.built = perceptor = self._build(self.context)
        return perceptor

    @property
    def info(self) -> str:
        """A short line: what was built, in which precision, on which device."""
        name = getattr(self.perceptor, "info", self.part.use)
        return f"{name}, {self.context.device}"

    @cached_property
    def context(self) -> PerceptorContext:
        """Where the whole perceptor is built; this imports torch."""
        return self.open_context(self.recipe, False)

    @cached_property
    def _text_context(self) -> PerceptorContext:
        return self.open_context(self.recipe, True)

    def preprocessing(
        self, background: tuple[int, int, int] = (255, 255, 255), frames: int = 1
    ) -> Preprocessing:
        """How pictures are read for it: its size, and its `fit` and `method` where it has them."""
        fit: Any = getattr(self.perceptor, "fit", "crop")
        method: Any = getattr(self.perceptor, "method", "bicubic")
        return Preprocessing(self.perceptor.size, fit, method, background, frames)

    def encode_pictures(self, pixels: Array) -> Array:
        """Unit vectors float32 `[N, D]` of pictures uint8 `[N, S, S, 3]`; no gradient."""
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
        made: Perceptor = context.build(self.part)
        return made

    def texts(self, texts: Sequence[str]) -> Array:
        """The same; of texts that were encoded before they come from the disk."""
        return cached_vectors(lasting_identity(self.part), texts, self.encode_texts)


def unit_vectors(vectors: torch.Tensor, name: str) -> Array:
    """The vectors in float32 on the CPU, of length 1; PluginError for what has no direction."""
    import torch

    made = vectors.detach().float()
    lengths = made.norm(dim=1, keepdim=True)
    if not torch.isfinite(lengths).all() or (lengths == 0).any():
        raise PluginError(f"perceptor '{name}' gave a vector without a direction (0 or NaN)")
    return (made / lengths).cpu().numpy()
