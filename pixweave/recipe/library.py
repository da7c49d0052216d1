"""The library: every recipe and preset that can be named, of pixweave and of plugins."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pixweave.recipe.paths import builtins

if TYPE_CHECKING:
    from pixweave.plugins import Plugins

PRESETS = "presets/"
"""How the names of presets begin."""


def known_recipes(plugins: Plugins) -> dict[str, Path]:
    """The files of all recipes (`hello`) and presets (`presets/draft`) by name.

    Those of plugins have a full name, `plugin/sunset` or `presets/plugin/soft`, and the bare one if
    no built-in and no other plugin has it.
    """
    found = builtins()
    for kind, prefix in (("recipes", ""), ("presets", PRESETS)):
        for name, offer in plugins.content(kind).items():
            found.setdefault(prefix + name, offer.value)
    return found


def listed_recipes(plugins: Plugins) -> dict[str, Path]:
    """The same, each file under one name only, the shortest that means it."""
    names: dict[Path, str] = {}
    for name, path in known_recipes(plugins).items():
        if path not in names or len(name) < len(names[path]):
            names[path] = name
    return {name: path for path, name in names.items()}
