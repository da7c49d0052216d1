"""Run: a recipe with its built parts, ready for the loop; made by `open_run`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pixweave.borders.checked_part import is_stateful
from pixweave.component import Part
from pixweave.engine.canvas import Canvas
from pixweave.engine.context import Context, Prebuilt
from pixweave.engine.optimizer import Optimizer, learning_rate, make_optimizer
from pixweave.engine.view import StepView
from pixweave.events import Frame
from pixweave.protocols import Augmentation, Exporter, Filter, Generator, Loss, Stateful
from pixweave.recipe import as_recipe

if TYPE_CHECKING:
    from pixweave.protocols import Perceptor
    from pixweave.recipe import Moment, Recipe


@dataclass(frozen=True)
class WeightedLoss:
    """A built loss with the id and the weight that it has in the recipe."""

    part: Part
    loss: Loss

    @property
    def name(self) -> str:
        """The id of the loss."""
        return self.part.id

    def weight(self, moment: Moment) -> float:
        """The weight at that moment."""
        return self.part.weight.at(moment)

    def __call__(self, view: StepView) -> Tensor:
        """The loss without its weight, a scalar."""
        return self.loss(view)


class Run:
    """The built parts of a recipe: `generator`, `perceptors`, `augmentations`, `losses`, `filters`.

    `canvas` holds what the recipe starts from, `optimizer` updates the generator's parameters,
    `step` is the next step to do.
    """

    def __init__(self, context: Context) -> None:
        recipe = context.recipe
        self.context, self.recipe = context, recipe
        self.device, self.dtype, self.size = context.device, context.dtype, context.size
        self.folder, self.step = context.folder, 0
        self.generator: Generator = context.build(recipe.generator)
        self.canvas = Canvas(context, self.generator)
        context.build_perceptors()
        self.augmentations: dict[str, Augmentation] = {
            part.id: self._build(part) for part in recipe.augmentations
        }
        self.losses = [WeightedLoss(part, self._build(part)) for part in recipe.losses]
        self.filters: dict[str, Filter] = {part.id: self._build(part) for part in recipe.filters}
        self.parameters = list(self.generator.parameters())
        self.optimizer: Optimizer = make_optimizer(recipe.optimizer, self.parameters)
        # a filter with state must see every frame, even those that nobody shows or exports
        self._framed = False
        self.filters_every_frame = any("stateless" not in p.settings.can for p in recipe.filters)

    @property
    def perceptors(self) -> Mapping[str, Perceptor]:
        """The recipe's perceptors by id."""
        return self.context.perceptors

    def rng(self, name: str, step: int | None = None) -> torch.Generator:
        """A fresh CPU generator for a named purpose; equal name, step and seed: equal draws."""
        return self.context.rng(name, step)

    def exporters(self) -> list[Exporter]:
        """Open every exporter of the recipe in the run folder."""
        return [self._build(part) for part in self.recipe.exports]

    def steps(self) -> range:
        """The remaining steps."""
        return range(self.step, self.recipe.steps)

    def look(self, step: int) -> StepView:
        """The view of this step's image for the losses."""
        moment = self.recipe.moment(step)
        if advance := getattr(self.generator, "advance", None):
            advance(moment)
        self.canvas.blend_overlay(moment)
        return self.view(moment, self.canvas.picture())

    def view(self, moment: Moment, picture: Tensor) -> StepView:
        """The view of an image `[B, 3 or 4, H, W]` at a moment for the losses."""
        return StepView(self.context, self.augmentations, moment, picture)

    def advance(self, moment: Moment) -> None:
        """Update the parameters by their gradients, at this step's learning rate."""
        self.optimizer.step(learning_rate(self.recipe, self.generator, moment))
        self.generator.constrain()
        self.step = moment.frame + 1

    def frame(self, view: StepView, losses: Mapping[str, Tensor]) -> Frame:
        """The frame of a step: the generator's `shown()` image if it gives one, else the step's."""
        get_shown = getattr(self.generator, "shown", None)
        shown: Tensor | None = get_shown() if get_shown is not None else None
        raw = view.raw.detach() if shown is None else self.canvas.masked(shown)
        # kept on the device: reading a loss here would synchronise with it at every step
        values = {name: loss.detach() for name, loss in losses.items()}
        frame = Frame(view.step, raw, values, partial(self.filtered, moment=view.moment))
        if self.filters_every_frame or not self._framed:
            frame.image  # noqa: B018 - applies the filters now: in order, and the first as a check
        self._framed = True
        return frame

    @torch.no_grad()
    def filtered(self, raw: Tensor, moment: Moment) -> Tensor:
        """The image `[B, 3 or 4, H, W]` after the recipe's filters, in 0..1."""
        for part in self.recipe.filters:
            raw = self.filters[part.id](raw, moment).clamp(0, 1)
        return raw

    def state_dict(self) -> dict[str, Any]:
        """All that the rest of the run depends on; random streams derive from the step alone."""
        return {
            "step": self.step,
            "generator": dict(self.generator.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            **{
                kind: {name: part.state_dict() for name, part in stateful.items()}
                for kind, stateful in self._stateful().items()
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict` of a run of the same recipe."""
        self.step = int(state["step"])
        self.generator.load_state_dict(state["generator"])
        self.optimizer.load_state_dict(state["optimizer"])
        for kind, stateful in self._stateful().items():
            for name, part in stateful.items():
                part.load_state_dict(state[kind][name])

    def _stateful(self) -> dict[str, dict[str, Stateful]]:
        """The parts with state besides the generator, by kind and id."""
        kinds: dict[str, Mapping[str, object]] = {
            "losses": {loss.name: loss.loss for loss in self.losses},
            "augmentations": self.augmentations,
            "filters": self.filters,
        }
        return {
            kind: {name: part for name, part in parts.items() if is_stateful(part)}
            for kind, parts in kinds.items()
        }

    def _build(self, part: Part) -> Any:
        return self.context.build(part, self.generator, self.canvas)


def open_run(
    recipe: Recipe | str | Path,
    folder: str | Path | None = None,
    prebuilt: Prebuilt | None = None,
    metadata: Mapping[str, str] | None = None,
) -> Run:
    """Build every part of a recipe, or of the one in a file, ready for `generate`.

    `folder` is where exporters write, `metadata` what they embed in their files; `prebuilt` holds
    models of other runs on the same device, for reuse.

        for frame in generate(open_run("fox.yaml")):
            print(frame.step, frame.losses)
    """
    run_folder = Path(folder) if folder is not None else None
    return Run(Context(as_recipe(recipe), run_folder, prebuilt, metadata))
