"""Recipes from files, layers and `--set` to one frozen `Recipe`, or every issue at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pixweave.errors import Issue, RecipeError
from pixweave.recipe import overrides
from pixweave.recipe.builder import RecipeBuilder
from pixweave.recipe.layers import Layers, default_layer
from pixweave.recipe.part_reader import expand
from pixweave.recipe.recipe import Recipe
from pixweave.recipe.stage_reader import lift

if TYPE_CHECKING:
    from pixweave.plugins import Plugins

T = TypeVar("T")


def load(sources: Sequence[str | Path], plugins: Plugins, sets: Sequence[str] = ()) -> Recipe:
    """The recipe that files, built-in names (`hello`) or `-` (stdin) make, merged left to right.

    `sets` are `--set` texts such as `steps=100`. Raises RecipeError with every issue found,
    and MissingError when a source is not there. Imports no torch.
    """
    layers = Layers()
    found = [layers.add_source(source) for source in sources]
    name, folder = found[0] if found else ("recipe", Path.cwd())
    return _load(layers, name, folder, plugins, sets)


def load_text(
    text: str, name: str, folder: Path, plugins: Plugins, sets: Sequence[str] = ()
) -> Recipe:
    """The recipe in a text; `folder` is what its paths are relative to. Raises like `load`."""
    layers = Layers()
    layers.add_text(text, name, folder)
    return _load(layers, Path(name).stem, folder, plugins, sets)


def _load(layers: Layers, name: str, folder: Path, plugins: Plugins, sets: Sequence[str]) -> Recipe:
    issues = layers.issues
    asked = [o for text in sets if (o := _noting(issues, overrides.read, text)) is not None]
    structural = [override for override in asked if overrides.is_layer(override)]
    if layer := _noting(issues, overrides.layer, structural):
        layers.add_node(layer)
    tree = layers.merged()
    for override in asked:
        if not overrides.is_layer(override):
            tree = _noting(issues, overrides.apply, tree, override) or tree
    tree = replace(tree, value={**default_layer().value, **tree.value})  # --set ~generator
    if issues:  # more would be found only because of these
        raise RecipeError(dict.fromkeys([*layers.unstated, *issues]))
    tree = lift(tree, plugins)
    builder = RecipeBuilder(plugins, expand(tree), tree, layers)
    return builder.recipe(name, folder)


def _noting(issues: list[Issue], do: Callable[..., T], *args: Any) -> T | None:
    try:
        return do(*args)
    except RecipeError as error:
        issues += error.issues
        return None
