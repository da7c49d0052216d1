"""Test utilities for plugins: small doubles, tiny runs, and `check_component`.

from pixweave.testing import check_component, plugins_of

def test_my_loss():
    check_component("loss", "vivid", plugins=plugins_of(my_plugin))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pixweave.plugins import Plugins
from pixweave.testing import check_executors, check_generators, check_models, check_samplers
from pixweave.testing.doubles import FakePerceptor, FakePlugin, plugins_of, tiny_recipe

__all__ = ["FakePerceptor", "FakePlugin", "check_component", "plugins_of", "tiny_recipe"]


def check_component(
    kind: str, name: str, settings: Mapping[str, Any] | None = None, plugins: Plugins | None = None
) -> None:
    """Assert the contract of a component; the AssertionError names what is violated.

    Settings have descriptions and the example validates. A loss has a gradient and decreases. A
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
    component = plugins.find(kind, name).component
    for setting, info in component.model_fields.items():
        assert info.description, f"setting '{setting}' of {kind} '{name}' has no description"
    CHECKS[kind](name, dict(settings or {}), plugins)


CHECKS = {
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
