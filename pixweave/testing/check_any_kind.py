"""Checks that hold for components of several kinds: settings, instances, time and devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from pixweave.component import Component, PartSetting
from pixweave.plugins import Plugins
from pixweave.testing.doubles import tiny_recipe
from pixweave.timeline.values import Value, bounds_of

IN_A_RUN = {
    "loss": "losses",
    "augmentation": "augmentations",
    "filter": "filters",
    "generator": "generator",
    "perceptor": "perceptors",
}
"""Kinds that work at every step of a run -> their key in a recipe."""


def check_settings(kind: str, name: str, component: type[Component]) -> None:
    """Assert that every setting has a description, and a default within its own bounds."""
    for setting, info in component.model_fields.items():
        assert info.description, f"setting '{setting}' of {kind} '{name}' has no description"
        if info.is_required() or isinstance(info.json_schema_extra, PartSetting):
            continue
        default = info.get_default(call_default_factory=True)
        try:
            _validate_alone(component, setting, default)
        except ValidationError as error:
            own = [e for e in error.errors() if e["loc"] and e["loc"][0] == setting]
            reason = own[0]["msg"] if own else ""
            assert not own, (
                f"setting '{setting}' of {kind} '{name}' has the default {_short(default)}, which "
                f"it would refuse from a user: {reason}"
            )


def _validate_alone(component: type[BaseModel], setting: str, value: Any) -> None:
    component.model_validate({setting: value})


def _short(value: Any) -> str:
    return str(getattr(value, "raw", value))


def recipe_with(
    kind: str, name: str, settings: Mapping[str, Any], plugins: Plugins, **keys: Any
) -> Any:
    """A tiny recipe that uses the component once."""
    entry = {"use": name, **settings}
    base: dict[str, Any] = {IN_A_RUN[kind]: entry if kind == "generator" else [entry]}
    if kind == "loss":
        base["prompts"] = []
    if kind == "perceptor":
        base["crops"] = {"count": 2}
    return tiny_recipe(plugins, **{**base, **keys})


def check_instances(kind: str, name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    """Assert that two runs at the same time do not affect each other.

    Of generators and perceptors other checks tell.
    """
    if kind in ("generator", "perceptor"):
        return
    import torch

    from pixweave.engine.loop import generate
    from pixweave.engine.run import open_run

    recipe = recipe_with(kind, name, settings, plugins, steps=2)
    alone = list(generate(open_run(recipe)))
    first = generate(open_run(recipe))
    frames = [next(first)]
    next(generate(open_run(recipe)))
    frames.append(next(first))
    for frame, one in zip(alone, frames, strict=True):
        same = torch.equal(frame.image, one.image) and frame.losses == one.losses
        assert same, (
            f"{kind} '{name}' gives other results while a second one is in use; keep state on the "
            "object that build(run) returns, not on the class or the module"
        )


def check_over_time(kind: str, name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    """Assert that every setting that may change over time does so in the middle of a run."""
    from pixweave.engine.loop import generate
    from pixweave.engine.run import open_run

    component = plugins.find(kind, name).component
    for setting, info in component.model_fields.items():
        if not isinstance(info.default, Value) or setting in settings:
            continue
        bounds = bounds_of(info)
        low = next((v for v in (bounds.ge, bounds.gt) if v is not None), 0.0)
        high = next((v for v in (bounds.le, bounds.lt) if v is not None), low + 1.0)
        middle = low + 0.25 * (high - low), low + 0.75 * (high - low)
        given = {**settings, setting: {0: middle[0], "end": middle[1]}}
        recipe = recipe_with(kind, name, given, plugins)
        count = len(list(generate(open_run(recipe))))
        assert count == recipe.steps, f"{kind} '{name}' ends a run early"


def check_device(kind: str, name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    """Assert that tensors are made on `run.device`, as far as torch's device `meta` can tell.

    `meta` tensors have no values, so a part that reads values cannot be checked; it passes.
    """
    import torch

    from pixweave.engine.context import Context, PartContext
    from pixweave.engine.view import StepView

    if kind not in ("loss", "augmentation", "filter"):
        return
    recipe = recipe_with(kind, name, settings, plugins)
    context = Context(recipe)
    context.build_perceptors()
    context.device = torch.device("meta")
    part = getattr(recipe, IN_A_RUN[kind])[0]
    image = torch.zeros(1, 3, 24, 24, device="meta")
    moment = recipe.moment(1)
    try:
        instance = part.settings.build(PartContext(part, context))
        if kind == "loss":
            result = instance(StepView(context, {}, moment, image))
        elif kind == "filter":
            result = instance(image, moment)
        else:
            result = instance(torch.zeros(4, 3, 16, 16, device="meta"), context.rng("x"), moment)
    except RuntimeError as error:
        mixed = "same device" in str(error) or "expected device meta" in str(error)
        assert not mixed, _OTHER_DEVICE.format(kind=kind, name=name)
        return
    except Exception:  # it reads values, which meta tensors do not have
        return
    assert result.device.type == "meta", _OTHER_DEVICE.format(kind=kind, name=name)


_OTHER_DEVICE = (
    "{kind} '{name}' makes tensors on the CPU whatever the device of the run is; make them on "
    "run.device, or on the device of the tensor that it is handed"
)
