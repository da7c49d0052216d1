"""Recipes: YAML text to a validated, frozen `Recipe`, without importing torch."""
