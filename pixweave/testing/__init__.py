"""For tests of plugins, ours and yours: small doubles, tiny runs, and `check_component`.

from pixweave.testing import check_component, plugins_of

def test_my_loss():
    check_component("loss", "vivid", plugins=plugins_of(my_plugin))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pixweave.plugins import Plugins
from pixweave.testing import check_executors, check_generators, check_models
from pixweave.testing.doubles import FakePerceptor, FakePlugin, plugins_of, tiny_recipe

__all__ = ["FakePerceptor", "FakePlugin", "check_component", "plugins_of", "tiny_recipe"]


def check_component(
    kind: str, name: str, settings: Mapping[str, Any] | None = None, plugins: Plugins | None = None
) -> None:
    """Assert what every component must hold; AssertionError names what does not.

    Settings are described and the example validates. A loss has a gradient and descends; a
    generator has gradients, stays in range, gives the same bytes for the same seed, its state
    round-trips, and it does what it says that it `can`; an augmentation keeps the shape, passes
    gradients and is reproducible; a filter gives the size that it says, in range and always the
    same; a perceptor gives unit vectors with gradients; a classifier gives scores in 0..1 that do
    not depend on the batch; a searcher finds the nearest of a few
    vectors; an executor does units, says what fails and why, and tries again what a worker died of;
    a trainer, given settings with which a step is quick, repeats its steps when it is
    resumed and writes its file.
    """
    plugins = plugins or plugins_of()
    offer = plugins.find(kind, name)
    for setting, info in offer.component.model_fields.items():
        assert info.description, f"setting '{setting}' of {kind} '{name}' has no description"
    CHECKS[kind](name, dict(settings or {}), plugins)


CHECKS = {
    "augmentation": check_generators.check_augmentation,
    "classifier": check_models.check_classifier,
    "executor": check_executors.check_executor,
    "exporter": check_generators.check_exporter,
    "filter": check_generators.check_filter,
    "generator": check_generators.check_generator,
    "loss": check_generators.check_loss,
    "perceptor": check_models.check_perceptor,
    "searcher": check_models.check_searcher,
    "trainer": check_models.check_trainer,
}
