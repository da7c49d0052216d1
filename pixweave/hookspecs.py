"""The hooks of plugins. Those that register parts return `{name: Component subclass}`.

A plugin is a module with one or more of these functions, marked with `@pixweave.hookimpl`.
`pixweave.protocols` has one class per hook: what the component's `build(run)` must return. A hook
may also return import paths, `{name: "module:Class"}`: the module of a component is then imported
when the component is first used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pluggy

from pixweave.component import Component, RecipeInfo

hookspec = pluggy.HookspecMarker("pixweave")
hookimpl = pluggy.HookimplMarker("pixweave")

Offers = dict[str, type[Component] | str]

API = 1
"""The version of what plugins are promised: hooks, protocols and the names in `pixweave`.

A plugin may state the one that it was written for: `api = 1` in its module. It grows by one when
something is removed or changes its meaning, not when something is added.
"""


@hookspec
def register_generators() -> Offers:  # type: ignore[empty-body]
    """Generators make the image: parameters to optimise, and the image rendered from them."""


@hookspec
def register_perceptors() -> Offers:  # type: ignore[empty-body]
    """Perceptors encode images and texts into one vector space, like CLIP."""


@hookspec
def register_losses() -> Offers:  # type: ignore[empty-body]
    """Losses score the image: a number that optimisation makes smaller."""


@hookspec
def register_augmentations() -> Offers:  # type: ignore[empty-body]
    """Augmentations change the crops before a perceptor encodes them."""


@hookspec
def register_codecs() -> Offers:  # type: ignore[empty-body]
    """Codecs encode images as tokens and decode them: image tokenizers such as VQGAN."""


@hookspec
def register_samplers() -> Offers:  # type: ignore[empty-body]
    """Samplers generate an image for texts without optimisation: models such as DALL-E."""


@hookspec
def register_classifiers() -> Offers:  # type: ignore[empty-body]
    """Classifiers label images: a score for each label of a list."""


@hookspec
def register_filters() -> Offers:  # type: ignore[empty-body]
    """Filters change the image before it is shown or exported; losses do not see the result."""


@hookspec
def register_searchers() -> Offers:  # type: ignore[empty-body]
    """Searchers find the nearest vectors, exactly or with their own approximate index."""


@hookspec
def register_exporters() -> Offers:  # type: ignore[empty-body]
    """Exporters write the result: images and films."""


@hookspec
def register_stages() -> Offers:  # type: ignore[empty-body]
    """Stages are the steps of a recipe: generate, rank, classify, index, search, or your own."""


@hookspec
def register_trainers() -> Offers:  # type: ignore[empty-body]
    """Trainers train a model on images and captions, for `pixweave train NAME`."""


@hookspec
def register_executors() -> Offers:  # type: ignore[empty-body]
    """Executors split large jobs into tasks: for processes of this machine, or other machines."""


# ------------------------------------------------------------------ what a plugin brings besides


@dataclass(frozen=True)
class Outcome:
    """How a run ended, for the hook `after_run`. New attributes may be added."""

    recipe: RecipeInfo
    folder: Path
    """The run folder, with `run.json` and everything that was written."""
    status: str
    """`done`, `interrupted` or `failed`."""
    outputs: Sequence[Path]
    """The finished files."""
    error: str
    """The message of the error of a failed run, or ''."""
    seconds: float
    plugins: Mapping[str, str]
    """The version of each plugin that the recipe uses; of a file its digest, `sha256:...`."""


@hookspec
def register_recipes() -> dict[str, Path]:  # type: ignore[empty-body]
    """Recipes by name: the absolute path of each file, `Path(__file__).parent / "sunset.yaml"`.

    They are listed by `pixweave ls`, and used like built-in ones, as `sunset` or, if another recipe
    has that name, `plugin/sunset`. Paths in a recipe are relative to its own folder.
    """


@hookspec
def register_presets() -> dict[str, Path]:  # type: ignore[empty-body]
    """Presets by name: the absolute path of each file; used as `presets: [soft]` in recipes."""


@hookspec
def register_models() -> dict[str, Mapping[str, Any]]:  # type: ignore[empty-body]
    """Models for the catalogue of `pixweave models`, by name.

    Each is a mapping as in models.yaml: `about`, `licence`, `page`, and `files` by role, each with
    `name`, `mirrors`, `size` and `sha256`; see docs/models.md.
    """


@hookspec
def register_commands() -> dict[str, Any]:  # type: ignore[empty-body]
    """Commands of the command line, by name: click commands, or import paths `module:command`.

    They are listed by `pixweave --help` under the name of the plugin. A built-in command keeps its
    name.
    """


@hookspec
def after_run(outcome: Outcome) -> None:
    """Called once after every run, also one that failed or was stopped, with its Outcome.

    For webhooks and galleries. If it raises, a warning names the plugin; the outcome of the run,
    its files and its exit code stay as they are.
    """


_SPECS = [name for name in globals() if name.startswith("register_")]
CONTENT_HOOKS = ("register_recipes", "register_presets", "register_models", "register_commands")
"""The hooks that register something else than parts."""
OUTCOME_HOOK = "after_run"
HOOKS = {
    name.removeprefix("register_").removesuffix("es" if name.endswith("sses") else "s"): name
    for name in _SPECS
    if name not in CONTENT_HOOKS
}
"""Kind of part -> name of the hook that registers it, in the order of this file."""
