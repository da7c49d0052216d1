"""Load recipes: merge files, layers and `--set` into one `Recipe`, or report all issues."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pixweave.errors import Issue, RecipeError
from pixweave.recipe import overrides
from pixweave.recipe.builder import RecipeBuilder
from pixweave.recipe.layers import Layers, default_layer
from pixweave.recipe.library import known_recipes
from pixweave.recipe.part_reader import expand
from pixweave.recipe.recipe import Recipe
from pixweave.recipe.stage_reader import lift

if TYPE_CHECKING:
    from pixweave.plugins import Plugins

T = TypeVar("T")


def load(sources: Sequence[str | Path], plugins: Plugins, sets: Sequence[str] = ()) -> Recipe:
    """Load files, built-in recipes (`hello`) or `-` (stdin), merged left to right, as one Recipe.

    `sets` are `--set` texts such as `steps=100`. Raises RecipeError with all issues found, and
    MissingError if a source is not found. Imports no torch.

        load(["hello", "mine.yaml"], Plugins.discover(), ["steps=100"])
    """
    layers = Layers(known_recipes(plugins))
    added = [layers.add_source(source) for source in sources]
    name, folder = added[0] if added else ("recipe", Path.cwd())
    return _load(layers, name, folder, plugins, sets)


def load_text(
    text: str, name: str, folder: Path, plugins: Plugins, sets: Sequence[str] = ()
) -> Recipe:
    """Load a recipe from text; its paths are relative to `folder`. Raises like `load`."""
    layers = Layers(known_recipes(plugins))
    layers.add_text(text, name, folder)
    return _load(layers, Path(name).stem, folder, plugins, sets)


def _load(layers: Layers, name: str, folder: Path, plugins: Plugins, sets: Sequence[str]) -> Recipe:
    issues = layers.issues
    changes = [o for text in sets if (o := _collecting(issues, overrides.read, text)) is not None]
    structural = [override for override in changes if overrides.is_layer(override)]
    if layer := _collecting(issues, overrides.layer, structural):
        layers.add_node(layer)
    tree = layers.merged()
    for override in changes:
        if not overrides.is_layer(override):
            tree = _collecting(issues, overrides.apply, tree, override) or tree
    tree = replace(
        tree, value={**default_layer().value, **tree.value}
    )  # restore what --set ~generator removed
    if issues:  # further checks would report follow-up errors
        raise RecipeError(dict.fromkeys([*layers.unstated, *issues]))
    tree = lift(tree, plugins)
    builder = RecipeBuilder(plugins, expand(tree), tree, layers)
    return builder.recipe(name, folder)


def _collecting(issues: list[Issue], do: Callable[..., T], *args: Any) -> T | None:
    try:
        return do(*args)
    except RecipeError as error:
        issues += error.issues
        return None
