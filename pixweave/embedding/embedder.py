"""Encoder: a perceptor for many pictures, and the identity that its vectors are kept under.

Losses, classifiers and searches all see with the same perceptor plugins; this is the way in for
those that have files instead of a run. Nothing is built, and torch is not imported, before the
first picture or text is encoded: a search whose text vector is known needs neither.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixweave.errors import PluginError, RunError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from pixweave.engine.context import Bench
    from pixweave.loading import Look
    from pixweave.plugins import Plugins
    from pixweave.protocols import Perceptor
    from pixweave.recipe import Part, Recipe

    Array = np.ndarray[Any, Any]


class Encoder:
    """Pictures and texts to unit vectors, by one perceptor; made by `open_encoder`.

    `part` is the recipe's first perceptor unless another is given, `ready` the perceptor where it
    is built already. Where texts come first, the perceptor is built with `run.only` "text": one
    that heeds it leaves its image tower out. It is built anew, whole, when a picture comes after
    all.
    """

    def __init__(
        self, recipe: Recipe, part: Part | None = None, ready: Perceptor | None = None
    ) -> None:
        self.recipe = recipe
        self.part: Part = part or recipe.perceptors[0]
        self._made = ready
        self._only = ""

    @cached_property
    def identity(self) -> str:
        """Equal where vectors may be compared; see `identity_of`."""
        return identity_of(self.part)

    @property
    def ready(self) -> Mapping[Part, Perceptor]:
        """The whole perceptor by its part, if it was built."""
        return {self.part: self._made} if self._made is not None and not self._only else {}

    @property
    def live(self) -> Perceptor:
        """The perceptor itself, built when first asked for."""
        return self._built("")

    def _built(self, only: str) -> Perceptor:
        if self._made is None or self._only not in ("", only):
            self._bench.only = self._only = only
            self._made = self._bench.build(self.part)
        return self._made

    @property
    def info(self) -> str:
        """A short line: what was built, in which precision, on which device."""
        name = getattr(self.live, "info", self.part.use)
        return f"{name}, {self._bench.device}"

    def look(self, background: tuple[int, int, int] = (255, 255, 255), frames: int = 1) -> Look:
        """How pictures are read for it: its size, and its `fit` and `method` where it has them."""
        from pixweave.loading import Look

        fit: Any = getattr(self.live, "fit", "crop")
        method: Any = getattr(self.live, "method", "bicubic")
        return Look(self.live.size, fit, method, background, frames)

    def encode_pictures(self, pixels: Array) -> Array:
        """Unit vectors float32 `[N, D]` of pictures uint8 `[N, S, S, 3]`; no gradient."""
        import torch

        crops = torch.from_numpy(pixels).to(self._bench.device).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            return _unit(self.live.encode_image(crops.contiguous()), self.part.use)

    def encode_texts(self, texts: Sequence[str]) -> Array:
        """Unit vectors float32 `[P, D]` of texts."""
        import torch

        with torch.inference_mode():
            return _unit(self._built("text").encode_text(list(texts)), self.part.use)

    def texts(self, texts: Sequence[str]) -> Array:
        """The same; of texts that were encoded before they come from the disk."""
        from pixweave.embedding.text_embedding_cache import vectors_of

        return vectors_of(lasting(self.part), texts, self.encode_texts)

    def self_check(self, count: int = 16) -> Agreement:
        """How well it agrees with its component's `reference(run)`, on made-up pictures and texts.

        A wrong activation, a tokenizer that pads otherwise, a product in too low a precision give
        plausible vectors and worse results; nothing else would show it. In a lower precision the
        pictures are encoded in float32 too: a wrong activation moves vectors by less than bf16
        does, and is seen there alone. RunError where the component has no reference.
        """
        import numpy as np
        import torch

        make = getattr(self.part.settings, "reference", None)
        if make is None:
            raise RunError(f"perceptor '{self.part.use}' has no reference to be compared with")
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            reference = make(self._bench)
        rng = np.random.default_rng(0)
        coarse = rng.integers(0, 256, (count, 6, 6, 3)).astype(np.float32)
        side = self.live.size
        pixels = coarse.repeat(-(-side // 6), 1).repeat(-(-side // 6), 2)[:, :side, :side]
        pixels = (pixels + rng.normal(0, 8, pixels.shape)).clip(0, 255).astype(np.uint8)
        texts = (_PROBES * count)[:count]
        with torch.inference_mode():
            crops = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
            seen = _unit(reference.encode_image(crops), self.part.use)
            said = _unit(reference.encode_text(texts), self.part.use)
        pictures = least = _agreement(self.encode_pictures(pixels), seen)
        if self._bench.dtype != torch.float32:
            plain = Encoder(replace(self.recipe, precision="float32"), self.part)
            least = _agreement(plain.encode_pictures(pixels), seen)
        precision = str(self._bench.dtype).removeprefix("torch.")
        return Agreement(count, pictures, _agreement(self.encode_texts(texts), said), least,
                         precision)  # fmt: skip

    @cached_property
    def _bench(self) -> Bench:
        from pixweave.engine.context import Bench  # imports torch, some seconds, unless it is there

        return Bench(self.recipe)


def identity_of(part: Part) -> str:
    """Equal where vectors may be compared: name, settings and digest of the weights.

    The component's own `identity()`, where it has one; else a digest of its settings. The same
    weights in another precision have the same identity.
    """
    own = getattr(part.settings, "identity", None)
    if own is not None:
        return f"{part.use}:{own()}"
    from pixweave.recipe.recipe import plain

    text = json.dumps(plain(part.settings), sort_keys=True)
    return f"{part.use}:{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"


def lasting(part: Part) -> str | None:
    """The identity under which vectors of texts are kept; None where no `identity()` vouches."""
    return identity_of(part) if hasattr(part.settings, "identity") else None


SAME = 0.9999
"""Least cosine in float32: two right ways come to within 1e-6 of 1, a wrong QuickGELU to .9998."""
NEAR = 0.99
"""Least cosine in a lower precision: bf16 keeps .996, 8 bits .985 or less."""

_PROBES = [
    "a photo of a cat.", "two dogs, one of them asleep", "Sunset OVER the sea!", "x", "0123456789",
    "a very long caption " * 20, "naïve café", "",
]  # fmt: skip


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
            return (f"in float32 pictures agree to {self.exact:.6f}, and {SAME} is expected: "
                    "activation, pixels or weights differ")  # fmt: skip
        if self.texts < SAME:
            return f"{SAME} is expected of texts: tokenizer, padding or weights differ"
        if self.pictures < NEAR:
            return f"{NEAR} is expected: {self.precision} is too coarse for it, use float32"
        return "ok"


def open_encoder(
    plugins: Plugins,
    perceptor: str | Mapping[str, Any] = "tiny",
    device: str = "auto",
    precision: str = "auto",
) -> Encoder:
    """An encoder for a perceptor as a recipe writes it: a name, or `use` with settings.

    A text may also be a YAML mapping, or `open_clip:MODEL/TAG`. Raises RecipeError, as a recipe
    would, for what is not known; nothing is built yet.
    """
    from pixweave.recipe import load_text

    entry = entry_of(perceptor, "--perceptor")
    body = {"pixweave": 1, "perceptors": [entry], "prompts": ["anything"], "export": [],
            "device": device, "precision": precision}  # fmt: skip
    return Encoder(load_text(json.dumps(body), "--perceptor", Path(), plugins))


def entry_of(part: str | Mapping[str, Any], option: str) -> dict[str, Any]:
    """A part as a recipe's mapping, from a name, a YAML mapping, or `open_clip:MODEL/TAG`."""
    if not isinstance(part, str):
        return dict(part)
    if part.lstrip().startswith("{"):
        import yaml

        try:
            return dict(yaml.safe_load(part))
        except yaml.YAMLError as error:
            said = " ".join(str(error).split())
            raise RunError(f"{option} is no YAML mapping: {said}") from None
    use, colon, rest = part.partition(":")
    if colon:
        model, _, tag = rest.rpartition("/")
        return {"use": use, "model": model, "pretrained": tag} if model else {"use": part}
    return {"use": use}


def _agreement(ours: Array, theirs: Array) -> float:
    """The least cosine between rows, after the mean of theirs is taken from both."""
    import numpy as np

    mean = theirs.mean(0)
    one, two = ours - mean, theirs - mean
    lengths = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    return float(((one * two).sum(1) / np.maximum(lengths, 1e-12)).min())


def _unit(vectors: torch.Tensor, name: str) -> Array:
    """The vectors in float32 on the CPU, of length 1; PluginError for what has no direction."""
    import torch

    made = vectors.detach().float()
    lengths = made.norm(dim=1, keepdim=True)
    if not torch.isfinite(lengths).all() or (lengths == 0).any():
        raise PluginError(f"perceptor '{name}' gave a vector without a direction (0 or NaN)")
    return (made / lengths).cpu().numpy()
