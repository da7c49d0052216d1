"""Recipes: YAML text to a validated, frozen `Recipe`, without importing torch."""

from pixweave.component import Part
from pixweave.recipe.loader import load, load_text
from pixweave.recipe.nodes import Written
from pixweave.recipe.paths import InputFile, PictureFile, builtins
from pixweave.recipe.recipe import Recipe
from pixweave.timeline.values import Moment, Value, over_time

__all__ = [
    "InputFile",
    "Moment",
    "Part",
    "PictureFile",
    "Recipe",
    "Value",
    "Written",
    "builtins",
    "load",
    "load_text",
    "over_time",
]
