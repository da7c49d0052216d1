"""Plan: which trainer, with which settings, on which data, and where its files go."""

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
"""The side of the pictures, in pixels, for a trainer that has no setting `size`."""


class Head(Settings):
    """What a configuration holds beside the trainer's own settings."""

    seed: int = Field(0, ge=0, le=10**9, description="where all randomness comes from")
    data: list[str] = Field([], description="folders, tables or packed folders")


@dataclass(frozen=True)
class Plan:
    """A training as it was asked for: checked, but nothing is read or written yet."""

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
    """Where the parts that are settings of the trainer are built; None where it has none."""

    @property
    def steps(self) -> int:
        """How many updates there are in all."""
        return int(getattr(self.settings, "steps"))  # noqa: B009 - every trainer has it

    @property
    def side(self) -> int:
        """The side of the pictures in pixels."""
        return int(getattr(self.settings, "size", SIDE))


@dataclass(frozen=True)
class TrainContext:
    """What a trainer's `build(run)` gets."""

    dataset: Dataset
    device: torch.device
    seed: int
    steps: int
    """Where schedules end; the training may be stopped and taken up before."""
    folder: Path
    """A folder for what is slow to make: the trainer's own, kept as long as data and settings."""
    out: Path
    """Where the model will be; it is written to by `save` alone."""
    warn: Callable[[str], None]
    """Tells the user something, once."""
    make: Callable[[Part], Any]
    """Builds a part that is a setting of the trainer, see `PartOf`."""

    def cosine(self, step: int, warm: int = 100) -> float:
        """A factor on the learning rate: up over `warm` steps, down a cosine to 2 per cent.

        The warm-up is linear; the fall is half a period of Loshchilov & Hutter 2017, no restarts.
        """
        done = min(step / max(self.steps, 1), 1.0)
        fall = 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))
        return min(1.0, (step + 1) / warm) * fall


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
    """The plan that a command line and a configuration file make.

    `data` replaces what the configuration names; `sets` are `--set` texts and come last. Raises
    PluginError for an unknown trainer, RecipeError with every wrong setting, RunError for a wrong
    `out`, MissingError if no data is named.
    """
    try:
        offer = plugins.find("trainer", name)
    except LookupError as error:
        message, hint = (*error.args, "")[:2]
        raise PluginError(f"{message}; {hint}" if hint else str(message)) from None
    head, settings, written = _settings(plugins, offer.name, offer.component, config, sets)
    found = tuple(data) or written
    if not found:
        raise MissingError(
            f"no data is named; write `pixweave train {name} FOLDER --out {out}`, "
            "or 'data: [FOLDER]' in the configuration"
        )
    suffix = offer.component.suffix
    if suffix and out.suffix != suffix:
        raise RunError(
            f"trainer '{offer.name}' writes {suffix} files; "
            f"use --out {out.with_suffix(suffix) if out.name else 'mine' + suffix}"
        )
    if out.is_dir():
        raise RunError(f"'{out}' is a folder; name a file with --out")
    return Plan(
        offer.name,
        offer.plugin,
        settings,
        head.seed,
        found,
        out,
        work or out.with_suffix(".training"),
        device,
        minutes,
        fresh,
        _recipe(plugins, head.seed, device) if part_settings(offer.component) else None,
    )


def _recipe(plugins: Plugins, seed: int, device: str) -> Recipe:
    """A recipe that draws nothing: what the trainer's own parts are built with."""
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
    """`TrainContext.make` of a trainer that has no settings that are parts."""
    raise RunError(f"{part.name} is not a setting of the trainer")


def _settings(
    plugins: Plugins,
    name: str,
    component: type[Component],
    config: Path | None,
    sets: Sequence[str],
) -> tuple[Head, Component, tuple[Path, ...]]:
    """The two parts of a configuration, and its data; RecipeError with all that is wrong."""
    tree = _read(config)
    issues: list[Issue] = []
    for asked in sets:
        try:
            tree = overrides.apply(tree, overrides.read(asked))
        except RecipeError as error:
            issues += error.issues
    own = {key: node for key, node in tree.items() if key not in Head.model_fields}
    subject = Subject(f"trainer '{name}'", also=tuple(Head.model_fields))
    check = _Check(plugins)
    reader = PartReader(plugins, check)
    settings = reader.settings(component, replace(tree, value=own), subject)
    rest = {key: _listed(key, node) for key, node in tree.items() if key not in own}
    head = check.settings(Head, replace(tree, value=rest), subject)
    issues += check.issues
    if issues or settings is None or head is None:
        raise RecipeError(dict.fromkeys(issues))
    data = [node.value for node in rest["data"].value] if "data" in rest else []
    return head, settings, tuple(map(paths.resolve, data))  # from where each was written


def _listed(key: str, node: Node) -> Node:
    """A single text where a list of data is wanted counts as a list."""
    return replace(node, value=[node]) if key == "data" and isinstance(node.value, str) else node


def _read(config: Path | None) -> Node:
    if config is None:
        return Node({}, Mark("--set"))
    written = read_text.read_text(config, str(config))
    folder = config.absolute().parent
    return nodes.parse(written, str(config), folder, "configuration", "steps: 1000")


class _Check(Validator):
    """Words for the command line of `train`, where there is no recipe around the settings."""

    def home_of(self, key: str, subject: Subject) -> str:
        """Where a key that is wrong here would be right; '' if nowhere."""
        return f"write --{key} instead" if key in _OPTIONS else ""


_OPTIONS = ("device", "fresh", "minutes", "out", "work")


def described(settings: Component) -> dict[str, Any]:
    """The settings as plain data, for `config.json` and to compare two trainings."""
    found: dict[str, Any] = plain(settings)
    return found
