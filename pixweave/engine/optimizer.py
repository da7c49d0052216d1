"""Optimizers and the learning rate of each step.

Creating any class of torch.optim imports torch._dynamo, which adds about a second to every start.
Adam and AdamW therefore use torch's functional forms, with bit-identical results.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.adamw import adamw

from pixweave.timeline.values import Value

if TYPE_CHECKING:
    from pixweave.protocols import Generator
    from pixweave.recipe import Moment, Recipe
    from pixweave.recipe.sections import OptimizerSettings

EPSILON = 1e-8
"""The default of torch."""

CLASSES = {
    "nadam": "NAdam",
    "radam": "RAdam",
    "rmsprop": "RMSprop",
    "adagrad": "Adagrad",
    "sgd": "SGD",
}


class Optimizer(Protocol):
    """Updates parameters by their gradients."""

    rate: float
    """The learning rate of the last step."""

    def zero_grad(self) -> None:
        """Clear all gradients."""

    def step(self, rate: float) -> None:
        """Update the parameters by their gradients; those without one stay unchanged."""

    def state_dict(self) -> dict[str, Any]:
        """Moments and step counts."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`."""


class Adam:
    """Adam (Kingma and Ba 2015), or AdamW (Loshchilov and Hutter 2019) with `decoupled` decay."""

    def __init__(
        self,
        parameters: Iterable[Tensor],
        betas: tuple[float, float] = (0.9, 0.999),
        decay: float = 0.0,
        decoupled: bool = False,
    ) -> None:
        self.parameters, self.betas, self.decay = list(parameters), betas, decay
        self.rate = 0.0
        self._moments: list[dict[str, Tensor]] = [{} for _ in self.parameters]
        self._update = adamw if decoupled else adam

    def zero_grad(self) -> None:
        """Clear all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Update the parameters by their gradients; those without one stay unchanged."""
        self.rate = rate
        moved = [
            (parameter, parameter.grad, moments)
            for parameter, moments in zip(self.parameters, self._moments, strict=True)
            if parameter.grad is not None
        ]
        for parameter, _, moments in moved:
            if not moments:
                moments["mean"] = torch.zeros_like(parameter)
                moments["square"] = torch.zeros_like(parameter)
                moments["step"] = torch.tensor(0.0)
        self._update(
            [parameter for parameter, _, _ in moved],
            [gradient for _, gradient, _ in moved],
            [moments["mean"] for _, _, moments in moved],
            [moments["square"] for _, _, moments in moved],
            [],
            [moments["step"] for _, _, moments in moved],
            amsgrad=False,
            beta1=self.betas[0],
            beta2=self.betas[1],
            lr=rate,
            weight_decay=self.decay,
            eps=EPSILON,
            maximize=False,
        )

    def state_dict(self) -> dict[str, Any]:
        """Moments and step counts of each parameter."""
        moments = [
            {name: tensor.clone() for name, tensor in each.items()} for each in self._moments
        ]
        return {"moments": moments}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`."""
        self._moments = [
            {name: tensor.clone() for name, tensor in each.items()} for each in state["moments"]
        ]


class TorchOptimizer:
    """One of torch's optimizers."""

    def __init__(self, inner: torch.optim.Optimizer) -> None:
        self.inner, self.rate = inner, 0.0

    def zero_grad(self) -> None:
        """Clear all gradients."""
        self.inner.zero_grad(set_to_none=True)

    def step(self, rate: float) -> None:
        """Update the parameters by their gradients."""
        self.rate = rate
        for group in self.inner.param_groups:
            group["lr"] = rate
        self.inner.step()

    def state_dict(self) -> dict[str, Any]:
        """Moments and step counts."""
        return self.inner.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`."""
        self.inner.load_state_dict(dict(state))


class NoOptimizer:
    """For a generator without parameters: it updates itself in `advance`, or does not change."""

    rate = 0.0

    def zero_grad(self) -> None:
        """Do nothing."""

    def step(self, rate: float) -> None:
        """Do nothing."""

    def state_dict(self) -> dict[str, Any]:
        """An empty state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Do nothing."""


def make_optimizer(settings: OptimizerSettings, parameters: Iterable[Tensor]) -> Optimizer:
    """The optimizer of a recipe, for the parameters of a generator."""
    leaves = list(parameters)
    if not leaves:
        return NoOptimizer()
    if settings.use in ("adam", "adamw"):
        return Adam(leaves, settings.betas, settings.decay, decoupled=settings.use == "adamw")
    options: dict[str, Any] = {"weight_decay": settings.decay}
    if settings.use in ("nadam", "radam"):
        options["betas"] = settings.betas
    elif settings.use in ("sgd", "rmsprop"):
        options["momentum"] = settings.momentum
    make = getattr(torch.optim, CLASSES[settings.use])
    return TorchOptimizer(make(leaves, lr=1.0, **options))


def learning_rate(recipe: Recipe, generator: Generator, moment: Moment) -> float:
    """The learning rate of a step.

    The recipe's `optimizer.rate` if set; else the generator's `natural_rate`, which suits the way
    it was initialised; else that of its component.
    """
    if recipe.optimizer.rate is not None:
        return recipe.optimizer.rate.at(moment)
    default = recipe.generator.settings.natural_rate
    return Value(getattr(generator, "natural_rate", default)).at(moment)
