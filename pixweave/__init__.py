"""pixweave: pictures and animation driven by meaning, from YAML recipes and plugins.

Importing this package never imports torch; `open_run` and what follows it does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pixweave.component import Complaint, Component, Field
from pixweave.errors import (
    Mark,
    MissingError,
    OutOfMemoryError,
    PixweaveError,
    PluginError,
    Problem,
    RecipeError,
    RunError,
)
from pixweave.hookspecs import hookimpl
from pixweave.plugins import Plugins

if TYPE_CHECKING:
    from pixweave.classification.classify_images import zero_shot
    from pixweave.engine.loop import generate
    from pixweave.engine.run import Run, open_run
    from pixweave.engine.tensor_generator import Drawing
    from pixweave.pipeline.runner import perform
    from pixweave.recipe import InputFile, Recipe, Value, load, load_text, over_time

__version__ = "0.1.0"

__all__ = [
    "Complaint",
    "Component",
    "Drawing",
    "Field",
    "InputFile",
    "Mark",
    "MissingError",
    "OutOfMemoryError",
    "PixweaveError",
    "PluginError",
    "Plugins",
    "Problem",
    "Recipe",
    "RecipeError",
    "Run",
    "RunError",
    "Value",
    "__version__",
    "generate",
    "hookimpl",
    "load",
    "load_text",
    "open_run",
    "over_time",
    "perform",
    "zero_shot",
]

_LATER = {
    "Drawing": "pixweave.engine.tensor_generator",
    "zero_shot": "pixweave.classification.classify_images",
    "generate": "pixweave.engine.loop",
    "perform": "pixweave.pipeline.runner",
    "Run": "pixweave.engine.run",
    "open_run": "pixweave.engine.run",
    **dict.fromkeys(
        ("InputFile", "Recipe", "Value", "load", "load_text", "over_time"), "pixweave.recipe"
    ),
}


def __getattr__(name: str) -> Any:
    """Import what needs torch, or is slow to import, when it is first asked for."""
    if name in _LATER:
        import importlib

        return getattr(importlib.import_module(_LATER[name]), name)
    raise AttributeError(f"module 'pixweave' has no attribute '{name}'")
