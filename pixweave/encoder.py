"""Encoder: a perceptor for many pictures, and the identity that its vectors are kept under.

Losses, classifiers and searches all see with the same perceptor plugins; this is the way in for
those that have files instead of a run. Nothing is built, and torch is not imported, before the
first picture or text is encoded: a search whose text vector is known needs neither.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixweave.errors import PluginError, RunError

if TYPE_CHECKING:
    import numpy as np
    import torch

    from pixweave.pictures import Look
    from pixweave.plugins import Plugins
    from pixweave.protocols import Perceptor
    from pixweave.recipe import Part, Recipe

    Array = np.ndarray[Any, Any]


class Encoder:
    """Pictures and texts to unit vectors, by one perceptor; made by `open_encoder`.

    `only` is "text" where no picture will come: a perceptor that can then leaves its image tower
    out. It reads `run.only` in its `build`.
    """

    def __init__(self, recipe: Recipe, only: str = "") -> None:
        self.recipe, self.only = recipe, only
        self.part: Part = recipe.perceptors[0]

    @cached_property
    def identity(self) -> str:
        """Equal where vectors may be compared: name, settings and digest of the weights.

        The component's own `identity()`, where it has one; else its settings and the plugin's
        version. The same weights in another precision have the same identity.
        """
        own = getattr(self.part.settings, "identity", None)
        if own is not None:
            return f"{self.part.use}:{own()}"
        from pixweave.recipe.model import plain

        text = json.dumps(plain(self.part.settings), sort_keys=True)
        return f"{self.part.use}:{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"

    @cached_property
    def live(self) -> Perceptor:
        """The perceptor itself, built when first asked for."""
        made: Perceptor = _build(self)
        return made

    @property
    def info(self) -> str:
        """A short line: what was built, in which precision, on which device."""
        name = getattr(self.live, "info", self.part.use)
        return f"{name}, {self._bench.device}"

    def look(self, background: tuple[int, int, int] = (255, 255, 255), frames: int = 1) -> Look:
        """How pictures are read for it: its size, and its `fit` and `method` where it has them."""
        from pixweave.pictures import Look

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
            return _unit(self.live.encode_text(list(texts)), self.part.use)

    @cached_property
    def _bench(self) -> _Bench:
        return _Bench(self)


class _Bench:
    """The little of a Run that a perceptor's `build` may count on."""

    def __init__(self, encoder: Encoder) -> None:
        from pixweave.device import choose_device, choose_precision

        self.recipe, self.part, self.only = encoder.recipe, encoder.part, encoder.only
        self.device = choose_device(self.recipe.device)
        self.dtype = choose_precision(self.recipe.precision, self.device)

    def rng(self, name: str, step: int | None = None) -> torch.Generator:
        """A fresh CPU generator for a named purpose."""
        import torch

        digest = hashlib.blake2b(f"{name}/{step}".encode(), digest_size=8).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest) >> 1)


def open_encoder(
    plugins: Plugins,
    perceptor: str | Mapping[str, Any] = "tiny",
    device: str = "auto",
    precision: str = "auto",
    only: str = "",
) -> Encoder:
    """An encoder for a perceptor as a recipe writes it: a name, or `use` with settings.

    A text may also be a YAML mapping, or `open_clip:MODEL/TAG`. Raises RecipeError, as a recipe
    would, for what is not known; nothing is built yet.
    """
    from pixweave.recipe import load_text

    body = {"pixweave": 1, "perceptors": [_entry(perceptor)], "prompts": ["anything"],
            "export": [], "device": device, "precision": precision}  # fmt: skip
    return Encoder(load_text(json.dumps(body), "--perceptor", Path(), plugins), only)


def _entry(perceptor: str | Mapping[str, Any]) -> Any:
    if not isinstance(perceptor, str):
        return dict(perceptor)
    if perceptor.lstrip().startswith("{"):
        import yaml

        try:
            return yaml.safe_load(perceptor)
        except yaml.YAMLError as error:
            raise RunError(f"--perceptor is no YAML mapping: {error}") from None
    use, colon, rest = perceptor.partition(":")
    if colon:
        model, _, tag = rest.rpartition("/")
        return {"use": use, "model": model, "pretrained": tag} if model else {"use": perceptor}
    return {"use": use}


def _build(encoder: Encoder) -> Any:
    import torch

    bench = encoder._bench
    cuda = [bench.device] if bench.device.type == "cuda" else []
    with torch.random.fork_rng(cuda):
        torch.manual_seed(0)  # random weights, of tests, are the same each time
        return encoder.part.settings.build(bench)  # type: ignore[arg-type]


def _unit(vectors: torch.Tensor, name: str) -> Array:
    """The vectors in float32 on the CPU, of length 1; PluginError for what has no direction."""
    import torch

    made = vectors.detach().float()
    lengths = made.norm(dim=1, keepdim=True)
    if not torch.isfinite(lengths).all() or (lengths == 0).any():
        raise PluginError(f"perceptor '{name}' gave a vector without a direction (0 or NaN)")
    return (made / lengths).cpu().numpy()
