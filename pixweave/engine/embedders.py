"""Embedders whose perceptors are built in a Context. Importing this does not import torch."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixweave.component import Part
from pixweave.embedding.embedder import Embedder, PerceptorContext
from pixweave.errors import Mark
from pixweave.recipe.part_text import part_entry
from pixweave.timeline.values import Value

if TYPE_CHECKING:
    from pixweave.engine.context import Prebuilt
    from pixweave.plugins import Plugins
    from pixweave.recipe import Recipe


def make_embedder(
    recipe: Recipe, part: Part | None = None, prebuilt: Prebuilt | None = None
) -> Embedder:
    """An embedder for a perceptor of a recipe, by default the first.

    `prebuilt` holds perceptors of a run on the same device, for reuse.
    """

    def open_context(other: Recipe, text_only: bool) -> PerceptorContext:
        return _open_context(other, text_only, prebuilt if other.precision == precision else None)

    precision = recipe.precision
    return Embedder(lambda: recipe, part or recipe.perceptors[0], open_context)


def open_embedder(
    plugins: Plugins,
    perceptor: str | Mapping[str, Any] = "tiny",
    device: str = "auto",
    precision: str = "auto",
) -> Embedder:
    """An embedder for a perceptor as written in a recipe: a name, or `use` with settings.

    A text may also be a YAML mapping, or `open_clip:MODEL/TAG`. Raises RecipeError for unknown
    names and settings, like a recipe; nothing is built yet.
    """
    entry = part_entry(perceptor, "--perceptor")

    @functools.cache
    def read_recipe() -> Recipe:
        from pixweave.recipe import load_text

        body = {
            "pixweave": 1,
            "perceptors": [entry],
            "prompts": ["anything"],
            "export": [],
            "device": device,
            "precision": precision,
        }
        return load_text(json.dumps(body), "--perceptor", Path(), plugins)

    part = _default_part(plugins, entry) or read_recipe().perceptors[0]
    return Embedder(read_recipe, part, _open_context)


def _open_context(
    recipe: Recipe, text_only: bool, prebuilt: Prebuilt | None = None
) -> PerceptorContext:
    from pixweave.engine.context import Context  # imports torch, which takes seconds

    return Context(recipe, prebuilt=prebuilt, text_only=text_only)


def _default_part(plugins: Plugins, entry: Mapping[str, Any]) -> Part | None:
    """The perceptor with its default settings; None if the entry has others, or is invalid.

    It needs no recipe reader: a search whose text vector is cached imports none.
    """
    mark = Mark("--perceptor", 1, 1)
    try:
        found = plugins.find("perceptor", entry["use"])
        defaults = {name: info.default for name, info in found.component.model_fields.items()}
        if any(defaults.get(k, ...) != v for k, v in entry.items() if k != "use"):
            return None
        settings = found.component()
    except (LookupError, ValueError, TypeError):  # the recipe reader explains what is wrong
        return None
    return Part(
        kind="perceptor",
        use=entry["use"],
        id=entry["use"],
        weight=Value(1),
        settings=settings,
        plugin=found.plugin,
        mark=mark,
        locate=lambda name: mark,
        version=found.owner.version,
        bundled=found.owner.is_bundled,
    )
