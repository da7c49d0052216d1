"""pixweave: images and animations from text prompts, from YAML recipes and plugins.

Importing this package is fast: each name below is imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pixweave.classification.zero_shot import zero_shot
    from pixweave.component import BuildContext, Component, Field, Part, PartOf, RecipeInfo
    from pixweave.engine.loop import generate
    from pixweave.engine.run import Run, open_run
    from pixweave.engine.tensor_generator import TensorGenerator
    from pixweave.errors import (
        InvalidValue,
        Issue,
        Mark,
        MissingError,
        OutOfMemoryError,
        PartError,
        PixweaveError,
        PluginError,
        RecipeError,
        RunError,
    )
    from pixweave.events import Event, Frame
    from pixweave.hookspecs import hookimpl
    from pixweave.pipeline.export import Export
    from pixweave.pipeline.runner import perform
    from pixweave.plugins import Plugins
    from pixweave.protocols import Scores, View
    from pixweave.recipe import InputFile, Recipe, load, load_text
    from pixweave.timeline.values import Moment, Value, over_time

    Complaint = Problem = Issue
    Drawing = TensorGenerator

__version__ = "0.1.0"

_HOMES = {
    "pixweave.classification.zero_shot": ("zero_shot",),
    "pixweave.component": ("BuildContext", "Component", "Field", "Part", "PartOf", "RecipeInfo"),
    "pixweave.engine.loop": ("generate",),
    "pixweave.engine.run": ("Run", "open_run"),
    "pixweave.engine.tensor_generator": ("TensorGenerator",),
    "pixweave.errors": (
        *("InvalidValue", "Issue", "Mark", "MissingError", "OutOfMemoryError"),
        *("PartError", "PixweaveError", "PluginError", "RecipeError", "RunError"),
    ),
    "pixweave.events": ("Event", "Frame"),
    "pixweave.hookspecs": ("hookimpl",),
    "pixweave.pipeline.export": ("Export",),
    "pixweave.pipeline.runner": ("perform",),
    "pixweave.plugins": ("Plugins",),
    "pixweave.protocols": ("Scores", "View"),
    "pixweave.recipe": ("InputFile", "Recipe", "load", "load_text"),
    "pixweave.timeline.values": ("Moment", "Value", "over_time"),
}
_EARLIER = {"Complaint": "Issue", "Problem": "Issue", "Drawing": "TensorGenerator"}
"""Former names that plugins may still import -> the current names."""

_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "BuildContext",
    "Complaint",
    "Component",
    "Drawing",
    "Event",
    "Export",
    "Field",
    "Frame",
    "InputFile",
    "InvalidValue",
    "Issue",
    "Mark",
    "MissingError",
    "Moment",
    "OutOfMemoryError",
    "Part",
    "PartError",
    "PartOf",
    "PixweaveError",
    "PluginError",
    "Plugins",
    "Problem",
    "Recipe",
    "RecipeError",
    "RecipeInfo",
    "Run",
    "RunError",
    "Scores",
    "TensorGenerator",
    "Value",
    "View",
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


def __getattr__(name: str) -> Any:
    """Import a public name on first use, and cache it."""
    known = _EARLIER.get(name, name)
    if known not in _MODULE_OF:
        raise AttributeError(f"module 'pixweave' has no attribute '{name}'")
    value = getattr(importlib.import_module(_MODULE_OF[known]), known)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
