"""Test utilities for plugins: small doubles, tiny runs, and `check_component`.

from pixweave.testing import check_component, plugins_of

def test_my_loss():
    check_component("loss", "vivid", plugins=plugins_of(my_plugin))
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

from pixweave.errors import PartError
from pixweave.plugins import Plugins
from pixweave.testing import (
    check_any_kind,
    check_executors,
    check_generators,
    check_models,
    check_samplers,
)
from pixweave.testing.doubles import FakePerceptor, FakePlugin, plugins_of, tiny_recipe

__all__ = ["FakePerceptor", "FakePlugin", "check_component", "plugins_of", "tiny_recipe"]


def check_component(
    kind: str, name: str, settings: Mapping[str, Any] | None = None, plugins: Plugins | None = None
) -> None:
    """Assert the contract of a component; the AssertionError names what is violated.

    Settings have descriptions, and defaults within their bounds; a value over time changes in the
    middle of a run; two runs at once do not affect each other; tensors are made on the device of
    the run, as far as torch's device `meta` can tell. A loss has a gradient, decreases, looks at
    every image of a batch and keeps no state without `state_dict`. A
    generator has gradients, stays in range, gives the same bytes for the same seed, restores its
    state, and does what it declares in `can`. An augmentation keeps the shape, passes gradients and
    is reproducible. A filter gives its declared size, in range and always the same. An exporter
    writes its files, and leaves none after `abort`. A perceptor gives unit vectors with gradients.
    A classifier gives scores in 0..1 that do not depend on the batch. A searcher finds the nearest
    of a few vectors. A codec keeps its own codes. A sampler is reproducible. A stage runs after
    another one, and first with `input`. An executor runs tasks, reports errors, and retries tasks
    whose worker died. A trainer, given settings with which a step is quick, repeats its steps when
    it is resumed and writes its file.
    """
    plugins = plugins or plugins_of()
    check_any_kind.check_settings(kind, name, plugins.find(kind, name).component)
    checks: list[Check] = [CHECKS[kind]]
    if kind in check_any_kind.IN_A_RUN:
        common = (check_any_kind.check_instances, check_any_kind.check_over_time)
        checks += [functools.partial(check, kind) for check in common]
        checks.append(functools.partial(check_any_kind.check_device, kind))
    for check in checks:
        try:
            check(name, dict(settings or {}), plugins)
        except PartError as error:
            raise AssertionError(str(error)) from error


Check = Callable[[str, dict[str, Any], Plugins], None]
CHECKS: Mapping[str, Check] = {
    "augmentation": check_generators.check_augmentation,
    "classifier": check_models.check_classifier,
    "codec": check_samplers.check_codec,
    "executor": check_executors.check_executor,
    "exporter": check_generators.check_exporter,
    "filter": check_generators.check_filter,
    "generator": check_generators.check_generator,
    "loss": check_generators.check_loss,
    "perceptor": check_models.check_perceptor,
    "sampler": check_samplers.check_sampler,
    "searcher": check_models.check_searcher,
    "stage": check_samplers.check_stage,
    "trainer": check_models.check_trainer,
}
