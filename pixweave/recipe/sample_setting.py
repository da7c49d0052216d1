"""The setting `sample` of generators: start from an image that a sampler makes for the prompts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pixweave.errors import Issue

if TYPE_CHECKING:
    from pixweave.component import RecipeInfo

SAMPLE = "start from an image that `tiny-dalle` samples for the prompts, at a lower learning rate"
"""The description of the setting."""


def prompts_to_sample(recipe: RecipeInfo) -> list[tuple[str, float]]:
    """The texts of the prompts with their weights at step 0; empty if no weight is above 0.

    Also empty for a recipe that starts from an image.
    """
    if recipe.start_from is not None:
        return []
    start = recipe.moment(0)
    prompts = [part for part in recipe.losses if part.use == "prompt"]
    found = [(getattr(part.settings, "text", None), part.weight.at(start)) for part in prompts]
    texts = [(text, weight) for text, weight in found if text]
    return texts if any(weight > 0 for _, weight in texts) else []


def check_sample(recipe: RecipeInfo, setting: str = "sample") -> Iterable[Issue]:
    """Issues of a generator that starts from a sample: no prompt, or no sampler."""
    if recipe.start_from is not None:
        return
    if not prompts_to_sample(recipe):
        yield Issue(
            setting, "the recipe has no prompt to sample for", f"add a prompt, or remove {setting}"
        )
    elif recipe.sampler is None:
        yield Issue(setting, "no sampler is installed", f"remove {setting}")
