"""Load recipes: merge files, layers and `--set` into one `Recipe`, or report all issues."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pixweave.errors import Issue, RecipeError
from pixweave.plugins import installed_plugins
from pixweave.recipe import overrides
from pixweave.recipe.builder import RecipeBuilder
from pixweave.recipe.keys import keys_node, keys_text
from pixweave.recipe.layers import Layers, default_layer
from pixweave.recipe.library import known_recipes
from pixweave.recipe.part_reader import expand
from pixweave.recipe.recipe import Recipe
from pixweave.recipe.stage_reader import lift

if TYPE_CHECKING:
    from pixweave.plugins import Plugins

T = TypeVar("T")


def load(
    sources: str | Path | Sequence[str | Path],
    plugins: Plugins | None = None,
    sets: str | Sequence[str] = (),
) -> Recipe:
    """Load a recipe: a file, a built-in recipe (`hello`) or `-` (stdin); several are merged.

    `plugins` are by default the installed ones; `sets` are `--set` texts such as `steps=100`.
    Raises RecipeError with all issues found, and MissingError if a source is not found. Imports no
    torch.

        load("mine.yaml")
        load(["hello", "mine.yaml"], sets=["steps=100"])
    """
    plugins = plugins or installed_plugins()
    layers = Layers(known_recipes(plugins))
    name, folder = _add_sources(layers, sources)
    return _load(layers, name, folder, plugins, sets)


def load_text(
    text: str,
    name: str = "recipe.yaml",
    folder: str | Path | None = None,
    plugins: Plugins | None = None,
    sets: str | Sequence[str] = (),
) -> Recipe:
    """Load a recipe from text, called `name` in errors. Raises like `load`.

    Its paths are relative to `folder`, by default the current one.
    """
    plugins = plugins or installed_plugins()
    layers = Layers(known_recipes(plugins))
    base = Path.cwd() if folder is None else Path(folder)
    layers.add_text(text, name, base)
    return _load(layers, Path(name).stem, base, plugins, sets)


def load_keys(
    keys: Mapping[str, Any],
    sources: str | Path | Sequence[str | Path] = (),
    plugins: Plugins | None = None,
    name: str = "",
) -> Recipe:
    """Load a recipe from Python values by recipe key, on top of `sources`. Raises like `load`.

    Paths in the values are relative to the current folder; errors name the key as an argument.
    """
    plugins = plugins or installed_plugins()
    layers = Layers(known_recipes(plugins))
    stem, folder = _add_sources(layers, sources)
    try:
        node = keys_node(keys, Path.cwd())
    except RecipeError as error:
        raise RecipeError([*layers.unstated, *layers.issues, *error.issues]) from None
    layers.texts.append(("arguments.yaml", keys_text(node)))
    layers.add_node(node)
    return _load(layers, name or stem, folder, plugins, ())


def as_recipe(recipe: Recipe | str | Path) -> Recipe:
    """The recipe itself, or the one in a file or of a built-in name, loaded like by `load`."""
    return recipe if isinstance(recipe, Recipe) else load(recipe)


def _add_sources(layers: Layers, sources: str | Path | Sequence[str | Path]) -> tuple[str, Path]:
    """Add the sources as layers; the name and the folder of the first one."""
    listed = [sources] if isinstance(sources, (str, Path)) else sources
    added = [layers.add_source(source) for source in listed]
    return added[0] if added else ("recipe", Path.cwd())


def _load(
    layers: Layers, name: str, folder: Path, plugins: Plugins, sets: str | Sequence[str]
) -> Recipe:
    issues = layers.issues
    sets = [sets] if isinstance(sets, str) else sets
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
