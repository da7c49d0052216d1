"""The setting `sample` of generators: begin with a picture that a sampler draws for the prompts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pixweave.errors import Issue

if TYPE_CHECKING:
    from pixweave.component import RecipeInfo

SAMPLE = (
    "start from a picture that `tiny-dalle` samples for the prompts instead, and move it gently"
)
"""The description of the setting."""


def prompts_to_sample(recipe: RecipeInfo) -> list[tuple[str, float]]:
    """The texts of a recipe's prompts with their weights at its start; empty if none is above 0.

    Also empty for a recipe that starts from a picture.
    """
    if recipe.start_from is not None:
        return []
    begin = recipe.moment(0)
    prompts = [part for part in recipe.losses if part.use == "prompt"]
    found = [(getattr(part.settings, "text", None), part.weight.at(begin)) for part in prompts]
    texts = [(text, weight) for text, weight in found if text]
    return texts if any(weight > 0 for _, weight in texts) else []


def check_sample(recipe: RecipeInfo, setting: str = "sample") -> Iterable[Issue]:
    """What a generator that is to start from a sample lacks: a prompt, or a sampler."""
    if recipe.start_from is not None:
        return
    if not prompts_to_sample(recipe):
        yield Issue(
            setting, "there is no prompt to sample for", f"add a prompt, or leave {setting} out"
        )
    elif recipe.sampler is None:
        yield Issue(setting, "no plugin offers a sampler", f"leave {setting} out")
