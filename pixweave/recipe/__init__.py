"""Recipes: YAML text to a validated, frozen `Recipe`, without importing torch."""

from pixweave.recipe.files import InputFile, PictureFile, builtins
from pixweave.recipe.load import load, load_text
from pixweave.recipe.model import Recipe
from pixweave.recipe.nodes import Written
from pixweave.recipe.parts import Part
from pixweave.recipe.values import Moment, Value, over_time

__all__ = ["InputFile", "Moment", "Part", "PictureFile", "Recipe", "Value", "Written", "builtins",
           "load", "load_text", "over_time"]  # fmt: skip
