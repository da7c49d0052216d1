"""Load recipes: from YAML text to a validated, frozen `Recipe`, without importing torch."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pixweave.component import Part
from pixweave.recipe.paths import InputFile, PictureFile, builtins
from pixweave.recipe.written import Written
from pixweave.timeline.values import Moment, Value, over_time

if TYPE_CHECKING:
    from pixweave.recipe.loader import as_recipe, load, load_keys, load_text
    from pixweave.recipe.recipe import Recipe

__all__ = [
    "InputFile",
    "Moment",
    "Part",
    "PictureFile",
    "Recipe",
    "Value",
    "Written",
    "as_recipe",
    "builtins",
    "load",
    "load_keys",
    "load_text",
    "over_time",
]


def __getattr__(name: str) -> Any:
    """Import the loader on first access: plugins need only the types of settings."""
    if name in ("as_recipe", "load", "load_keys", "load_text", "Recipe"):
        module = "recipe" if name == "Recipe" else "loader"
        return getattr(importlib.import_module(f"pixweave.recipe.{module}"), name)
    raise AttributeError(f"module 'pixweave.recipe' has no attribute '{name}'")
