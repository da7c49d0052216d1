"""What moves the parameters: torch's optimizers, and the learning rate of each step.

Making any class of torch.optim imports torch._dynamo, about a second of every start. Adam and AdamW
are therefore driven by torch's functional forms, which give the same bits.
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
"""Torch's own default."""

CLASSES = {
    "nadam": "NAdam",
    "radam": "RAdam",
    "rmsprop": "RMSprop",
    "adagrad": "Adagrad",
    "sgd": "SGD",
}


class Optimizer(Protocol):
    """Moves parameters by the gradients that they hold."""

    rate: float
    """The learning rate of the last step."""

    def zero_grad(self) -> None:
        """Forget all gradients."""

    def step(self, rate: float) -> None:
        """Move by the gradients; parameters without one stay."""

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
        """Forget all gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Move by the gradients; parameters without one stay."""
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
        """Forget all gradients."""
        self.inner.zero_grad(set_to_none=True)

    def step(self, rate: float) -> None:
        """Move by the gradients."""
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
    """For a generator without parameters: it moves itself, or stays as it is."""

    rate = 0.0

    def zero_grad(self) -> None:
        """Nothing."""

    def step(self, rate: float) -> None:
        """Nothing."""

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing."""


def make_optimizer(settings: OptimizerSettings, parameters: Iterable[Tensor]) -> Optimizer:
    """The optimizer that a recipe asks for, over the leaves of a generator."""
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

    The recipe's `optimizer.rate`; else the `natural_rate` of the generator, which fits how it
    began; else that of its component.
    """
    if recipe.optimizer.rate is not None:
        return recipe.optimizer.rate.at(moment)
    usual = recipe.generator.settings.natural_rate
    return Value(getattr(generator, "natural_rate", usual)).at(moment)
