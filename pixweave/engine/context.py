"""Bench: where the parts of a recipe are built, with its device and its random streams."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from pixweave.engine.device import choose_device, choose_precision
from pixweave.errors import RunError

if TYPE_CHECKING:
    from pixweave.protocols import Perceptor
    from pixweave.recipe import Part, Recipe


class Bench:
    """What `build(run)` can count on whatever the recipe does: a `Run` is one with a picture.

    `perceptors` are the live ones by id; `part` is the entry of the recipe that is being built.
    `ready`: perceptors that were built before, for the same device, and are used again. `only`
    "text": no picture will be encoded, so that a perceptor may leave its image tower out.
    """

    def __init__(
        self, recipe: Recipe, ready: Mapping[Part, Perceptor] | None = None, only: str = ""
    ) -> None:
        self.recipe, self.only = recipe, only
        self.device = choose_device(recipe.device)
        self.dtype = choose_precision(recipe.precision, self.device)
        self.part: Part = recipe.generator
        self.perceptors: dict[str, Perceptor] = {}
        self._ready = dict(ready or {})
        self._made: dict[int, Part] = {}

    def build_perceptors(self) -> None:
        """Make the perceptors of the recipe, unless they are there."""
        for part in self.recipe.perceptors:
            if part.id not in self.perceptors:
                live = self._ready.get(part) or self.build(part)
                self.perceptors[part.id] = live
                self._made[id(live)] = part

    def encode_texts(self, name: str, texts: Sequence[str]) -> torch.Tensor:
        """Unit vectors float32 `[P, D]` of texts, by the perceptor with that id.

        Those of texts that were encoded before come from the disk; see `text_embedding_cache`.
        """
        from pixweave.embedding.embedder import lasting
        from pixweave.embedding.text_embedding_cache import vectors_of

        live = self.perceptors[name]
        part = self._made.get(id(live))

        def encode(said: list[str]) -> Any:
            with torch.no_grad():
                return F.normalize(live.encode_text(said).float(), dim=1).cpu().numpy()

        found = vectors_of(lasting(part) if part else None, texts, encode)
        return torch.from_numpy(found).to(self.device)

    @property
    def ready(self) -> dict[Part, Perceptor]:
        """The live perceptors by the part that they were built from."""
        return {part: self.perceptors[part.id] for part in self.recipe.perceptors}

    def build(self, part: Part) -> Any:
        """Make one live part; random weights come from the part's own stream."""
        self.part = part
        cuda = [self.device] if self.device.type == "cuda" else []
        with self.blame(part), torch.random.fork_rng(cuda):
            torch.manual_seed(self._seed(f"build/{part.kind}/{part.id}", None))
            return part.settings.build(self)  # type: ignore[arg-type]  # a Run, or enough of one

    def rng(self, name: str, step: int | None = None) -> torch.Generator:
        """A fresh CPU generator for a named purpose: the same name, step and seed, the same draws.

        Streams do not touch each other: adding a loss or a preview changes no other draw.
        """
        return torch.Generator().manual_seed(self._seed(name, step))

    def blame(self, part: Part) -> _Blame:
        """A context in which errors name the part, and global state must stay as it was."""
        return _Blame(part)

    def _seed(self, name: str, step: int | None) -> int:
        text = f"{self.recipe.seed}/{name}/{step}"
        return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


class _Blame:
    """Names the part in errors that pass, and refuses changes to torch's and Python's globals."""

    def __init__(self, part: Part) -> None:
        self.part = part

    def __enter__(self) -> None:
        self.before = self._globals()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        part = f"{self.part.kind} '{self.part.id}' ({self.part.mark}, plugin {self.part.plugin})"
        if error is not None:
            error.add_note(f"in {part}")
            return
        for what, now in self._globals().items():
            if now != self.before[what]:
                remedy = _REMEDIES[what]
                raise RunError(f"{part} changed {what}; {remedy}")

    def _globals(self) -> dict[str, Any]:
        return {
            "torch's global random state": torch.get_rng_state().numpy().tobytes(),
            "Python's global random state": random.getstate(),
            "torch's grad mode": torch.is_grad_enabled(),
            "torch's thread count": torch.get_num_threads(),
        }


_REMEDIES = {
    "torch's global random state": "draw from run.rng(name, step) instead",
    "Python's global random state": "draw from run.rng(name, step) instead",
    "torch's grad mode": "use `with torch.no_grad():` around what needs it",
    "torch's thread count": "leave it to the user (OMP_NUM_THREADS)",
}


def open_bench(
    recipe: Recipe, ready: Mapping[Part, Perceptor] | None = None, only: str = ""
) -> Bench:
    """A bench with the perceptors of a recipe, and nothing else built."""
    bench = Bench(recipe, ready, only)
    bench.build_perceptors()
    return bench
