"""Read the optional sections of a recipe: the start image, the mask, and the overlay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pixweave.component import Settings
from pixweave.errors import Issue
from pixweave.recipe.image_inputs import Mask, Overlay, ShorthandSettings, StartFrom
from pixweave.recipe.nodes import Node
from pixweave.recipe.sections import CropSettings, OptimizerSettings
from pixweave.recipe.top_level import GeneralSettings
from pixweave.recipe.validation import Subject, Validator

if TYPE_CHECKING:
    from pixweave.plugins import Plugins
    from pixweave.recipe.recipe import Recipe


SECTIONS: dict[str, type[ShorthandSettings]] = {
    "start_from": StartFrom,
    "mask": Mask,
    "overlay": Overlay,
}
"""The settings class of each section."""


def sections() -> dict[str, type[Settings]]:
    """The sections of a recipe that belong to the core, by name; `recipe` is the top level."""
    core: dict[str, type[Settings]] = {"recipe": GeneralSettings, "crops": CropSettings}
    return {**core, "optimizer": OptimizerSettings, **SECTIONS}


def read_sections(tree: Node, check: Validator) -> dict[str, Settings | None]:
    """The settings of each section; None if it is missing or invalid."""
    found: dict[str, Settings | None] = {}
    for key, model in SECTIONS.items():
        node = tree.get(key)
        found[key] = None
        if node is None or node.value is None:
            continue
        if isinstance(node.value, dict):
            found[key] = check.settings(model, node, Subject(key, f"{key}.", core=True))
        else:
            check.fail(
                node.mark,
                f"'{key}' must be the path of an image, or a mapping of settings",
                f"write '{key}: {{{next(iter(model.model_fields))}: ...}}'",
            )
    return found


def check_sections(recipe: Recipe, plugins: Plugins) -> Iterator[tuple[str, Issue]]:
    """The issues of the sections of a recipe, each with the key of its section."""
    part = recipe.generator
    for key in ("start_from", "overlay"):
        if getattr(recipe, key) is not None and "start_from" not in part.settings.can:
            yield (
                key,
                Issue("", f"generator '{part.use}' cannot start from an image", able(plugins)),
            )
    if recipe.mask is not None and recipe.start_from is None:
        yield (
            "mask",
            Issue(
                "",
                "outside the mask the image stays as it started, but there is no start image",
                "add 'start_from: photo.png', or set the mask on a prompt",
            ),
        )
    if recipe.overlay is not None:
        for issue in recipe.overlay.check(recipe):
            yield "overlay", issue


def able(plugins: Plugins, ability: str = "start_from") -> str:
    """A hint that lists the generators with an ability."""
    offers = plugins.imported("generator").items()
    names = [name for name, registered in offers if ability in registered.component.can]
    return f"use one that can: {', '.join(names)}" if names else "no installed generator can"
