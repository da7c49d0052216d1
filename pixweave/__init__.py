"""pixweave: images and animations from text prompts, from YAML recipes and plugins.

    import pixweave

    picture = pixweave.run("a red heart", steps=60)
    picture.image.save("heart.png")

docs/python.md is the guide to these names, docs/plugins.md the one for authors of plugins. All of
them are imported on first use, so importing this package is fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pixweave.classification.prediction_table import Prediction
    from pixweave.classification.zero_shot import zero_shot
    from pixweave.component import (
        BuildContext,
        CanvasInfo,
        Component,
        Field,
        Part,
        PartOf,
        RecipeInfo,
    )
    from pixweave.engine.loop import generate
    from pixweave.engine.masks import draw_mask
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
    from pixweave.media.images import read_image
    from pixweave.media.palettes import Colour, Palette
    from pixweave.media.region import Region
    from pixweave.pipeline.export import Export
    from pixweave.pipeline.picture_run import PictureRun, run
    from pixweave.pipeline.runner import perform
    from pixweave.pipeline.stage_runner import StageContext
    from pixweave.plugins import Plugins, installed_plugins
    from pixweave.protocols import (
        Augmentation,
        Classifier,
        Codec,
        Executor,
        Exporter,
        Filter,
        Generator,
        Loss,
        Perceptor,
        RegionView,
        Sampler,
        Scores,
        Searcher,
        Stage,
        Stateful,
        Training,
        View,
    )
    from pixweave.recipe import InputFile, PictureFile, Recipe, load, load_text
    from pixweave.recipe.image_inputs import Mask
    from pixweave.search import Filters, Hit, Hits, Index, Query, SearchContext, Term, open_index
    from pixweave.timeline.values import Moment, Value, over_time
    from pixweave.train import TrainContext
    from pixweave.workers.tasks import ExecutorContext, Task, TaskResult

    Complaint = Problem = Issue
    Drawing = TensorGenerator

__version__ = "0.1.0"

_HOMES: dict[str, tuple[str, ...]] = {
    "pixweave.classification.prediction_table": ("Prediction",),
    "pixweave.classification.zero_shot": ("zero_shot",),
    "pixweave.component": (
        "BuildContext",
        "CanvasInfo",
        "Component",
        "Field",
        "Part",
        "PartOf",
        "RecipeInfo",
    ),
    "pixweave.engine.loop": ("generate",),
    "pixweave.engine.masks": ("draw_mask",),
    "pixweave.engine.run": ("Run", "open_run"),
    "pixweave.engine.tensor_generator": ("TensorGenerator",),
    "pixweave.errors": (
        "InvalidValue",
        "Issue",
        "Mark",
        "MissingError",
        "OutOfMemoryError",
        "PartError",
        "PixweaveError",
        "PluginError",
        "RecipeError",
        "RunError",
    ),
    "pixweave.events": ("Event", "Frame"),
    "pixweave.hookspecs": ("hookimpl",),
    "pixweave.media.images": ("read_image",),
    "pixweave.media.palettes": ("Colour", "Palette"),
    "pixweave.media.region": ("Region",),
    "pixweave.pipeline.export": ("Export",),
    "pixweave.pipeline.picture_run": ("PictureRun", "run"),
    "pixweave.pipeline.runner": ("perform",),
    "pixweave.pipeline.stage_runner": ("StageContext",),
    "pixweave.plugins": ("Plugins", "installed_plugins"),
    "pixweave.protocols": (
        "Augmentation",
        "Classifier",
        "Codec",
        "Executor",
        "Exporter",
        "Filter",
        "Generator",
        "Loss",
        "Perceptor",
        "RegionView",
        "Sampler",
        "Scores",
        "Searcher",
        "Stage",
        "Stateful",
        "Training",
        "View",
    ),
    "pixweave.recipe": ("InputFile", "PictureFile", "Recipe", "load", "load_text"),
    "pixweave.recipe.image_inputs": ("Mask",),
    "pixweave.search": (
        "Filters",
        "Hit",
        "Hits",
        "Index",
        "Query",
        "SearchContext",
        "Term",
        "open_index",
    ),
    "pixweave.timeline.values": ("Moment", "Value", "over_time"),
    "pixweave.train": ("TrainContext",),
    "pixweave.workers.tasks": ("ExecutorContext", "Task", "TaskResult"),
}
"""Module -> the public names that it defines."""

_EARLIER = {"Complaint": "Issue", "Problem": "Issue", "Drawing": "TensorGenerator"}
"""Former names that plugins may still import -> the current names."""

_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Augmentation",
    "BuildContext",
    "CanvasInfo",
    "Classifier",
    "Codec",
    "Colour",
    "Complaint",
    "Component",
    "Drawing",
    "Event",
    "Executor",
    "ExecutorContext",
    "Export",
    "Exporter",
    "Field",
    "Filter",
    "Filters",
    "Frame",
    "Generator",
    "Hit",
    "Hits",
    "Index",
    "InputFile",
    "InvalidValue",
    "Issue",
    "Loss",
    "Mark",
    "Mask",
    "MissingError",
    "Moment",
    "OutOfMemoryError",
    "Palette",
    "Part",
    "PartError",
    "PartOf",
    "Perceptor",
    "PictureFile",
    "PictureRun",
    "PixweaveError",
    "PluginError",
    "Plugins",
    "Prediction",
    "Problem",
    "Query",
    "Recipe",
    "RecipeError",
    "RecipeInfo",
    "Region",
    "RegionView",
    "Run",
    "RunError",
    "Sampler",
    "Scores",
    "SearchContext",
    "Searcher",
    "Stage",
    "StageContext",
    "Stateful",
    "Task",
    "TaskResult",
    "TensorGenerator",
    "Term",
    "TrainContext",
    "Training",
    "Value",
    "View",
    "__version__",
    "draw_mask",
    "generate",
    "hookimpl",
    "installed_plugins",
    "load",
    "load_text",
    "open_index",
    "open_run",
    "over_time",
    "perform",
    "read_image",
    "run",
    "zero_shot",
]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, and cache it."""
    known = _EARLIER.get(name, name)
    if known in _MODULE_OF:
        value = getattr(importlib.import_module(_MODULE_OF[known]), known)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'pixweave' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted(__all__)
