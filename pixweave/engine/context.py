"""Context: where parts are built: the device, the random streams, and the parts that all share."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pixweave.component import BuildContext, CanvasInfo, Part
from pixweave.embedding.text_embedding_cache import text_vectors
from pixweave.engine.device import choose_device, choose_precision
from pixweave.engine.rng import random_stream, seed_of
from pixweave.errors import RunError

if TYPE_CHECKING:
    from pixweave.protocols import Generator, Perceptor
    from pixweave.recipe import Recipe

SHARED = ("perceptor", "codec", "sampler")
"""Kinds of parts that keep no state: one instance serves all who ask for equal settings."""


@dataclass
class Prebuilt:
    """Instances of parts without state, to use again: within a run, and from one run to the next.

    Runs that share it must compute on the same device, in the same precision.
    """

    found: list[tuple[Part, bool, Any]] = field(default_factory=list)

    def get(self, part: Part, text_only: bool) -> Any | None:
        """The instance of an equal part, if there is one that can do as much."""
        for other, limited, instance in self.found:
            if _is_same(part, other) and (text_only or not limited):
                return instance
        return None

    def add(self, part: Part, text_only: bool, instance: Any) -> None:
        """Keep an instance; `text_only` says that it encodes no pictures."""
        self.found.append((part, text_only, instance))


def _is_same(one: Part, other: Part) -> bool:
    """Whether two entries mean the same instance, whatever they are called and weigh."""
    return (one.kind, type(one.settings), one.settings) == (
        other.kind,
        type(other.settings),
        other.settings,
    )


class Context:
    """A recipe's device and random streams, and its perceptors once `build_perceptors` was called.

    `text_only`: no picture will be encoded, so that perceptors may leave their image tower out.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path | None = None,
        prebuilt: Prebuilt | None = None,
        metadata: Mapping[str, str] | None = None,
        text_only: bool = False,
    ) -> None:
        self.recipe, self.text_only = recipe, text_only
        self.folder, self.metadata = folder or Path(), dict(metadata or {})
        self.device = choose_device(recipe.device)
        self.dtype = choose_precision(recipe.precision, self.device)
        self.size = recipe.size
        self.perceptors: dict[str, Perceptor] = {}
        self.prebuilt = prebuilt if prebuilt is not None else Prebuilt()

    def build_perceptors(self) -> None:
        """Make the recipe's perceptors, unless they are there."""
        for part in self.recipe.perceptors:
            if part.id not in self.perceptors:
                self.perceptors[part.id] = self.build(part)

    def build(
        self, part: Part, generator: Generator | None = None, canvas: CanvasInfo | None = None
    ) -> Any:
        """Make the instance of a part; its random weights come from a stream of its own."""
        shared = part.kind in SHARED
        if shared and (made := self.prebuilt.get(part, self.text_only)) is not None:
            return made
        cuda = [self.device] if self.device.type == "cuda" else []
        with self.error_context(part), torch.random.fork_rng(cuda):
            torch.manual_seed(seed_of(self.recipe.seed, f"build/{part.kind}/{part.id}"))
            run: BuildContext = PartContext(part, self, generator, canvas)
            made = part.settings.build(run)
        if shared:
            self.prebuilt.add(part, self.text_only, made)
        return made

    def encode_texts(self, name: str, texts: Sequence[str]) -> Tensor:
        """Unit vectors float32 `[P, D]` of texts, by the perceptor with that id."""
        part = next(part for part in self.recipe.perceptors if part.id == name)
        found = text_vectors(self.perceptors[name], part, texts)
        return torch.from_numpy(found).to(self.device)

    def rng(self, name: str, step: int | None = None) -> torch.Generator:
        """A fresh CPU generator for a named purpose: the same name, step and seed, the same draws.

        Streams do not touch each other: adding a loss or a preview changes no other draw.
        """
        return random_stream(self.recipe.seed, name, step)

    def error_context(self, part: Part) -> ErrorContext:
        """A context in which errors name the part, and global state must stay as it was."""
        return ErrorContext(part)


@dataclass(frozen=True)
class PartContext:
    """The BuildContext of one part: its entry, and what is built before it."""

    part: Part
    context: Context = field(repr=False)
    built_generator: Generator | None = field(default=None, repr=False)
    built_canvas: CanvasInfo | None = field(default=None, repr=False)

    @property
    def recipe(self) -> Recipe:
        """The whole recipe."""
        return self.context.recipe

    @property
    def device(self) -> torch.device:
        """Where the run computes."""
        return self.context.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of large models."""
        return self.context.dtype

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the generator's picture."""
        return self.context.size

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.context.folder

    @property
    def metadata(self) -> Mapping[str, str]:
        """What exporters write into their files beside the picture."""
        return self.context.metadata

    @property
    def text_only(self) -> bool:
        """Whether perceptors will see texts alone."""
        return self.context.text_only

    @property
    def perceptors(self) -> Mapping[str, Perceptor]:
        """The recipe's perceptors by id."""
        return self.context.perceptors

    @property
    def generator(self) -> Generator:
        """The generator; RunError while there is none."""
        if self.built_generator is None:
            raise RunError(f"{self.part.name} asks for the generator, which is not built yet")
        return self.built_generator

    @property
    def canvas(self) -> CanvasInfo:
        """What the recipe starts from; RunError while there is none."""
        if self.built_canvas is None:
            raise RunError(f"{self.part.name} asks for the canvas, which is not built yet")
        return self.built_canvas

    def rng(self, name: str, step: int | None = None) -> torch.Generator:
        """A fresh CPU generator for a named purpose."""
        return self.context.rng(name, step)

    def make(self, part: Part) -> Any:
        """Build a nested part."""
        return self.context.build(part, self.built_generator, self.built_canvas)

    def encode_texts(self, perceptor: str, texts: Sequence[str]) -> Tensor:
        """Unit vectors float32 `[P, D]` of texts."""
        return self.context.encode_texts(perceptor, texts)


class ErrorContext:
    """Names the part in errors that pass, and refuses changes to torch's and Python's globals."""

    def __init__(self, part: Part) -> None:
        self.part = part

    def __enter__(self) -> None:
        self.before = _global_state()

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        part = f"{self.part.kind} '{self.part.id}' ({self.part.mark}, plugin {self.part.plugin})"
        if error is not None:
            error.add_note(f"in {part}")
            return
        for what, now in _global_state().items():
            if now != self.before[what]:
                raise RunError(f"{part} changed {what}; {_HINTS[what]}")


def _global_state() -> dict[str, Any]:
    return {
        "torch's global random state": torch.get_rng_state().numpy().tobytes(),
        "Python's global random state": random.getstate(),
        "torch's grad mode": torch.is_grad_enabled(),
        "torch's thread count": torch.get_num_threads(),
    }


_HINTS = {
    "torch's global random state": "draw from run.rng(name, step) instead",
    "Python's global random state": "draw from run.rng(name, step) instead",
    "torch's grad mode": "use `with torch.no_grad():` around what needs it",
    "torch's thread count": "leave it to the user (OMP_NUM_THREADS)",
}


def open_context(
    recipe: Recipe, prebuilt: Prebuilt | None = None, text_only: bool = False
) -> Context:
    """A context with the perceptors of a recipe, and nothing else built."""
    context = Context(recipe, prebuilt=prebuilt, text_only=text_only)
    context.build_perceptors()
    return context
