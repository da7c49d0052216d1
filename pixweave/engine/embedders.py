"""Embedders whose perceptors are built in a Context. Importing it imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixweave.component import Part
from pixweave.embedding.embedder import Embedder, PerceptorContext
from pixweave.recipe import Recipe, load_text
from pixweave.recipe.part_text import part_entry

if TYPE_CHECKING:
    from pixweave.engine.context import Prebuilt
    from pixweave.plugins import Plugins


def make_embedder(
    recipe: Recipe, part: Part | None = None, prebuilt: Prebuilt | None = None
) -> Embedder:
    """An embedder by a perceptor of a recipe, the first unless another is given.

    `prebuilt` holds perceptors of a run on the same device, to use again.
    """

    def open_context(recipe: Recipe, text_only: bool) -> PerceptorContext:
        from pixweave.engine.context import Context  # imports torch, some seconds

        shared = prebuilt if recipe.precision == precision else None
        return Context(recipe, prebuilt=shared, text_only=text_only)

    precision = recipe.precision
    return Embedder(recipe, part or recipe.perceptors[0], open_context)


def open_embedder(
    plugins: Plugins,
    perceptor: str | Mapping[str, Any] = "tiny",
    device: str = "auto",
    precision: str = "auto",
) -> Embedder:
    """An embedder by a perceptor as a recipe writes it: a name, or `use` with settings.

    A text may also be a YAML mapping, or `open_clip:MODEL/TAG`. Raises RecipeError, as a recipe
    would, for what is not known; nothing is built yet.
    """
    body = {
        "pixweave": 1,
        "perceptors": [part_entry(perceptor, "--perceptor")],
        "prompts": ["anything"],
        "export": [],
        "device": device,
        "precision": precision,
    }
    return make_embedder(load_text(json.dumps(body), "--perceptor", Path(), plugins))
