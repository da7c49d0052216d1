"""Context: builds parts; holds the device, the random streams and the shared instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pixweave.borders.checked_part import Host
from pixweave.borders.checked_parts import checked
from pixweave.borders.guard import Guard, full_name
from pixweave.component import BuildContext, CanvasInfo, Part
from pixweave.embedding.text_embedding_cache import text_vectors
from pixweave.engine.device import choose_device, choose_precision
from pixweave.engine.rng import random_stream, seed_of
from pixweave.errors import RunError

if TYPE_CHECKING:
    from pixweave.protocols import Generator, Perceptor
    from pixweave.recipe import Recipe

SHARED = ("perceptor", "codec", "sampler")
"""Kinds of parts that keep no state: parts with equal settings share one instance."""


@dataclass
class Prebuilt:
    """Stateless instances for reuse within a run and from one run to the next.

    Runs that share it must compute on the same device, in the same precision.
    """

    found: list[tuple[Part, bool, Any]] = field(default_factory=list)

    def get(self, part: Part, text_only: bool) -> Any | None:
        """The instance of an equal part; None if there is none, or only one that is too limited."""
        for other, limited, instance in self.found:
            if _is_same(part, other) and (text_only or not limited):
                return instance
        return None

    def add(self, part: Part, text_only: bool, instance: Any) -> None:
        """Keep an instance; `text_only`: it cannot encode images."""
        self.found.append((part, text_only, instance))


def _is_same(one: Part, other: Part) -> bool:
    """Whether two parts need the same instance; their ids and weights may differ."""
    return (one.kind, type(one.settings), one.settings) == (
        other.kind,
        type(other.settings),
        other.settings,
    )


class Context:
    """A recipe's device and random streams, and its perceptors after `build_perceptors`.

    `text_only`: no image will be encoded, so perceptors may skip building their image tower.
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
        self._warnings: list[str] = []
        self._reported = 0
        self.prebuilt = prebuilt if prebuilt is not None else Prebuilt()

    def build_perceptors(self) -> None:
        """Build the recipe's perceptors that are not built yet."""
        for part in self.recipe.perceptors:
            if part.id not in self.perceptors:
                self.perceptors[part.id] = self.build(part)

    def build(
        self, part: Part, generator: Generator | None = None, canvas: CanvasInfo | None = None
    ) -> Any:
        """Build the instance of a part, checked; its random weights come from their own stream.

        PartError if it cannot be built, or is not what its protocol asks for.
        """
        shared = part.kind in SHARED
        if shared and (instance := self.prebuilt.get(part, self.text_only)) is not None:
            return instance
        cuda = [self.device] if self.device.type == "cuda" else []
        with self.guard(part), torch.random.fork_rng(cuda):
            torch.manual_seed(seed_of(self.recipe.seed, f"build/{part.kind}/{part.id}"))
            run: BuildContext = PartContext(part, self, generator, canvas)
            instance = part.settings.build(run)
        instance = checked(part, instance, self.host, self.folder)
        if shared:
            self.prebuilt.add(part, self.text_only, instance)
        return instance

    def encode_texts(self, name: str, texts: Sequence[str]) -> Tensor:
        """Unit vectors float32 `[P, D]` of texts, by the perceptor with the id `name`."""
        part = next(part for part in self.recipe.perceptors if part.id == name)
        vectors = text_vectors(self.perceptors[name], part, texts)
        return torch.from_numpy(vectors).to(self.device)

    def rng(self, name: str, step: int | None = None) -> torch.Generator:
        """A fresh CPU generator for a named purpose.

        The same name, step and seed give the same draws. Streams are independent: adding a loss or
        a preview changes no other draw.
        """
        return random_stream(self.recipe.seed, name, step)

    def guard(self, part: Part) -> Guard:
        """A block in which errors name the part and changes of the process are refused."""
        return Guard(full_name(part), self.warn)

    def warn(self, message: str) -> None:
        """Keep a warning about a part, once, for the runner to report."""
        if message not in self._warnings:
            self._warnings.append(message)

    def take_warnings(self) -> list[str]:
        """The warnings that were added since the last call."""
        new = self._warnings[self._reported :]
        self._reported = len(self._warnings)
        return new

    @property
    def host(self) -> Host:
        """What the checks of parts need to know."""
        return Host(self.device, self.size, self.warn)


@dataclass(frozen=True)
class PartContext:
    """The BuildContext of one part: the part and what was built before it."""

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
        """The device on which the run computes."""
        return self.context.device

    @property
    def dtype(self) -> torch.dtype:
        """The precision of large models."""
        return self.context.dtype

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the generator's image in pixels."""
        return self.context.size

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self.context.folder

    @property
    def metadata(self) -> Mapping[str, str]:
        """Metadata that exporters embed in their files."""
        return self.context.metadata

    @property
    def text_only(self) -> bool:
        """Whether perceptors will only encode texts."""
        return self.context.text_only

    @property
    def perceptors(self) -> Mapping[str, Perceptor]:
        """The recipe's perceptors by id."""
        return self.context.perceptors

    @property
    def generator(self) -> Generator:
        """The generator; RunError if it is not built yet."""
        if self.built_generator is None:
            raise RunError(f"{self.part.name} asks for the generator, which is not built yet")
        return self.built_generator

    @property
    def canvas(self) -> CanvasInfo:
        """What the recipe starts from; RunError if it is not built yet."""
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


def open_context(
    recipe: Recipe, prebuilt: Prebuilt | None = None, text_only: bool = False
) -> Context:
    """A context with the recipe's perceptors built, and nothing else."""
    context = Context(recipe, prebuilt=prebuilt, text_only=text_only)
    context.build_perceptors()
    return context
