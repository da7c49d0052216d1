"""Run: a recipe with its live parts, its device and its random streams."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from pixweave.engine.canvas import Canvas
from pixweave.engine.context import Bench
from pixweave.engine.view import View
from pixweave.errors import PluginError
from pixweave.protocols import Augmentation, Exporter, Filter, Generator, Loss, Perceptor
from pixweave.timeline.values import Value

if TYPE_CHECKING:
    from pixweave.recipe import Part, Recipe


@dataclass(frozen=True)
class WeightedLoss:
    """A live loss under the name and the weight that the recipe gives it."""

    name: str
    part: Part
    loss: Loss
    run: Run

    def weight(self, step: int) -> float:
        """The weight at that step."""
        return self.part.weight.at(self.run.recipe.moment(step))

    def __call__(self, view: View) -> Tensor:
        with self.run.blame(self.part):
            value = self.loss(view)
        if not isinstance(value, Tensor) or value.ndim:
            raise PluginError(f"loss '{self.name}' must return a scalar tensor, not {value!r}")
        return value


class Run(Bench):
    """A recipe made live: build it with `open_run`.

    `generator`, `perceptors`, `augmentations`, `losses` and `filters` are the built parts; `canvas`
    holds what the recipe starts from; `folder` is where exporters write; `part` is the entry of the
    recipe that is being built.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path | None = None,
        ready: Mapping[Part, Perceptor] | None = None,
    ) -> None:
        super().__init__(recipe, ready)
        self.folder = folder or Path()
        self.size = recipe.size
        self.stamp: dict[str, str] = {}
        # grid_sample uses one thread per batch entry on the CPU
        self.lanes = torch.get_num_threads() if self.device.type == "cpu" else 1
        self.step = 0
        self.part: Part = recipe.generator
        self.generator: Generator = self.build(recipe.generator)
        self.canvas = Canvas(self)
        self.build_perceptors()
        self.augmentations: dict[str, Augmentation] = {
            p.id: self.build(p) for p in recipe.augmentations
        }
        self.losses = [WeightedLoss(p.id, p, self.build(p), self) for p in recipe.losses]
        self.filters: dict[str, Filter] = {p.id: self.build(p) for p in recipe.filters}
        self.optimizer = self._optimizer(self.generator.parameters())

    def exporters(self) -> list[Exporter]:
        """Open every exporter of the recipe in the run folder."""
        return [self.build(part) for part in self.recipe.exports]

    def steps(self) -> range:
        """The steps that are still to do."""
        return range(self.step, self.recipe.steps)

    def look(self, step: int) -> View:
        """The picture of this step, for losses to look at."""
        if advance := getattr(self.generator, "advance", None):
            advance(step)
        self.canvas.overlay(step)
        return View(self, step, self.canvas.picture())

    def shown(self, view: View) -> Tensor:
        """The picture to show of a step, detached: the generator's own choice, or what was seen."""
        choose = getattr(self.generator, "shown", None)
        chosen: Tensor | None = choose() if choose is not None else None
        return view.raw.detach() if chosen is None else self.canvas.masked(chosen)

    def advance(self, step: int) -> None:
        """Move the parameters by the gradients that they hold, at this step's learning rate."""
        rate = self._rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.generator.constrain()
        self.step = step + 1

    @torch.no_grad()
    def finish(self, raw: Tensor) -> Tensor:
        """The picture `[B, 3 or 4, H, W]` after the recipe's filters, in 0..1."""
        for part in self.recipe.filters:
            with self.blame(part):
                raw = self.filters[part.id](raw).clamp(0, 1)
        return raw

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the run depends on; streams need no state, they know their step."""
        return {
            "step": self.step,
            "generator": dict(self.generator.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "losses": {
                p.name: p.loss.state_dict() for p in self.losses if isinstance(p.loss, _Stateful)
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict` of a run of the same recipe."""
        self.step = int(state["step"])
        self.generator.load_state_dict(state["generator"])
        self.optimizer.load_state_dict(state["optimizer"])
        for part in self.losses:
            if isinstance(part.loss, _Stateful):
                part.loss.load_state_dict(state["losses"][part.name])

    def _rate(self, step: int) -> float:
        rate = self.recipe.optimizer.rate
        if rate is not None:
            return rate.at(self.recipe.moment(step))
        natural = getattr(self.recipe.generator.settings, "natural_rate", 0.05)
        natural = getattr(self.generator, "natural_rate", natural)
        return Value(natural).at(self.recipe.moment(step))

    def _optimizer(self, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
        settings = self.recipe.optimizer
        leaves = list(parameters)
        common: dict[str, Any] = {"lr": self._rate(0), "weight_decay": settings.decay}
        if settings.use in ("adam", "adamw", "nadam", "radam"):
            common["betas"] = settings.betas
        elif settings.use in ("sgd", "rmsprop"):
            common["momentum"] = settings.momentum
        names = {
            "adam": "Adam",
            "adamw": "AdamW",
            "nadam": "NAdam",
            "radam": "RAdam",
            "rmsprop": "RMSprop",
            "adagrad": "Adagrad",
            "sgd": "SGD",
        }
        make: Callable[..., torch.optim.Optimizer] = getattr(torch.optim, names[settings.use])
        return make(leaves, **common)


@runtime_checkable
class _Stateful(Protocol):
    """A loss that remembers something from step to step."""

    def state_dict(self) -> Mapping[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


def open_run(
    recipe: Recipe,
    folder: str | Path | None = None,
    ready: Mapping[Part, Perceptor] | None = None,
) -> Run:
    """Build every part of a recipe, ready for `generate`; `folder` is where exporters write.

    `ready`: live perceptors of another run on the same device (`run.ready`), to use again.
    """
    return Run(recipe, Path(folder) if folder is not None else None, ready)
