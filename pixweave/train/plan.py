"""Plan: the trainer, its settings, the data and the output paths of a training."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixweave.component import Component, Field, Part, Settings, part_settings
from pixweave.errors import Issue, Mark, MissingError, PluginError, RecipeError, RunError
from pixweave.recipe import Recipe, load_text, nodes, overrides, paths, read_text
from pixweave.recipe.nodes import Node
from pixweave.recipe.part_reader import PartReader
from pixweave.recipe.recipe import plain
from pixweave.recipe.validation import Subject, Validator

if TYPE_CHECKING:
    import torch

    from pixweave.plugins import Plugins
    from pixweave.train.dataset import Dataset

SIDE = 64
"""The side of the images, in pixels, for a trainer without a setting `size`."""


class Head(Settings):
    """What a configuration file contains besides the trainer's settings."""

    seed: int = Field(0, ge=0, le=10**9, description="random seed")
    data: list[str] = Field([], description="folders, tables or packed folders")


@dataclass(frozen=True)
class Plan:
    """A requested training: checked, but nothing is read or written yet."""

    trainer: str
    plugin: str
    settings: Component
    seed: int
    data: tuple[Path, ...]
    out: Path
    work: Path
    device: str = "auto"
    minutes: float | None = None
    fresh: bool = False
    recipe: Recipe | None = None
    """The recipe in whose context nested parts are built; None if the trainer has none."""

    @property
    def steps(self) -> int:
        """The total number of updates."""
        return int(getattr(self.settings, "steps"))  # noqa: B009 - every trainer has this setting

    @property
    def side(self) -> int:
        """The side of the images in pixels."""
        return int(getattr(self.settings, "size", SIDE))


@dataclass(frozen=True)
class TrainContext:
    """What a trainer's `build(run)` gets."""

    dataset: Dataset
    device: torch.device
    seed: int
    steps: int
    """The total number of steps, where schedules end; training may be paused and resumed before."""
    folder: Path
    """A cache folder for the trainer, kept as long as data and settings stay the same."""
    out: Path
    """The path of the model; only `save` writes to it."""
    warn: Callable[[str], None]
    """Shows a warning to the user."""
    make: Callable[[Part], Any]
    """Builds a part that is a setting of the trainer, see `PartOf`."""

    def cosine(self, step: int, warm: int = 100) -> float:
        """A learning-rate schedule: linear warm-up over `warm` steps, cosine decay to 2 per cent.

        Returns a factor on the learning rate. The decay is half a period of Loshchilov & Hutter
        2017, without restarts.
        """
        done = min(step / max(self.steps, 1), 1.0)
        decay = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))
        return min(1.0, (step + 1) / warm) * decay


def make_plan(
    plugins: Plugins,
    name: str,
    data: Sequence[Path],
    out: Path,
    config: Path | None = None,
    sets: Sequence[str] = (),
    work: Path | None = None,
    device: str = "auto",
    minutes: float | None = None,
    fresh: bool = False,
) -> Plan:
    """The plan for a command line and a configuration file.

    `data` replaces the data of the configuration; `sets` are `--set` texts, applied last. Raises
    PluginError for an unknown trainer, RecipeError with all invalid settings, RunError for an
    invalid `out`, MissingError if no data is given.
    """
    try:
        found = plugins.find("trainer", name)
    except LookupError as error:
        message, hint = (*error.args, "")[:2]
        raise PluginError(f"{message}; {hint}" if hint else str(message)) from None
    head, settings, configured = _settings(plugins, found.name, found.component, config, sets)
    all_data = tuple(data) or configured
    if not all_data:
        raise MissingError(
            f"no data given; use `pixweave train {name} FOLDER --out {out}`, "
            "or 'data: [FOLDER]' in the configuration"
        )
    suffix = found.component.suffix
    if suffix and out.suffix != suffix:
        raise RunError(
            f"trainer '{found.name}' writes {suffix} files; "
            f"use --out {out.with_suffix(suffix) if out.name else 'mine' + suffix}"
        )
    if out.is_dir():
        raise RunError(f"'{out}' is a folder; name a file with --out")
    return Plan(
        found.name,
        found.plugin,
        settings,
        head.seed,
        all_data,
        out,
        work or out.with_suffix(".training"),
        device,
        minutes,
        fresh,
        _recipe(plugins, head.seed, device) if part_settings(found.component) else None,
    )


def _recipe(plugins: Plugins, seed: int, device: str) -> Recipe:
    """A recipe without output, in whose context the trainer's nested parts are built."""
    body = {
        "pixweave": 1,
        "prompts": ["anything"],
        "export": [],
        "seed": seed,
        "device": device,
        "precision": "float32",
    }
    return load_text(json.dumps(body), "train", Path(), plugins)


def no_nested_parts(part: Part) -> Any:
    """`TrainContext.make` of a trainer without nested parts: raises RunError."""
    raise RunError(f"{part.name} is not a setting of the trainer")


def _settings(
    plugins: Plugins,
    name: str,
    component: type[Component],
    config: Path | None,
    sets: Sequence[str],
) -> tuple[Head, Component, tuple[Path, ...]]:
    """The head, settings and data of a configuration; RecipeError with all errors."""
    tree = _read(config)
    issues: list[Issue] = []
    for text in sets:
        try:
            tree = overrides.apply(tree, overrides.read(text))
        except RecipeError as error:
            issues += error.issues
    own = {key: node for key, node in tree.items() if key not in Head.model_fields}
    subject = Subject(f"trainer '{name}'", also=tuple(Head.model_fields))
    check = _Check(plugins)
    reader = PartReader(plugins, check)
    settings = reader.settings(component, replace(tree, value=own), subject)
    rest = {key: _as_list(key, node) for key, node in tree.items() if key not in own}
    head = check.settings(Head, replace(tree, value=rest), subject)
    issues += check.issues
    if issues or settings is None or head is None:
        raise RecipeError(dict.fromkeys(issues))
    data = [node.value for node in rest["data"].value] if "data" in rest else []
    return head, settings, tuple(map(paths.resolve, data))  # relative to the file that has them


def _as_list(key: str, node: Node) -> Node:
    """The node; a single text for `data` becomes a list of one."""
    return replace(node, value=[node]) if key == "data" and isinstance(node.value, str) else node


def _read(config: Path | None) -> Node:
    if config is None:
        return Node({}, Mark("--set"))
    written = read_text.read_text(config, str(config))
    folder = config.absolute().parent
    return nodes.parse(written, str(config), folder, "configuration", "steps: 1000")


class _Check(Validator):
    """A Validator whose hints are about the command line of `train` instead of a recipe."""

    def home_of(self, key: str, subject: Subject) -> str:
        """A hint for a key that is a command-line option; '' if it is none."""
        return f"write --{key} instead" if key in _OPTIONS else ""


_OPTIONS = ("device", "fresh", "minutes", "out", "work")


def described(settings: Component) -> dict[str, Any]:
    """The settings as plain data, for `config.json` and to compare two trainings."""
    data: dict[str, Any] = plain(settings)
    return data
