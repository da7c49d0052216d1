"""The Recipe: all settings of a run, validated and frozen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import BaseModel

from pixweave.borders.guard import Guard
from pixweave.component import Component, Part, nested_parts, part_settings
from pixweave.errors import Issue, Mark
from pixweave.recipe import top_level
from pixweave.recipe.nodes import Node, is_plain_text
from pixweave.timeline.values import Moment, Value

if TYPE_CHECKING:
    from pixweave.plugins import Plugins
    from pixweave.recipe.image_inputs import Mask, Overlay, StartFrom
    from pixweave.recipe.sections import CropSettings, OptimizerSettings

Row = tuple[str, Any, str]
"""The path of a setting, its value, and the origin of the value."""


@dataclass(frozen=True)
class Recipe:
    """A complete, valid recipe. Sizes are (width, height) in pixels. Equality ignores where and how
    it was written: name, folder, sources, warnings and source locations.
    """

    title: str
    name: str = field(compare=False)
    folder: Path = field(compare=False)
    seed: int
    size: tuple[int, int]
    steps: int
    fps: float
    device: str
    precision: str
    inputs: Mapping[str, Value] = field(hash=False)
    generator: Part
    perceptors: tuple[Part, ...]
    losses: tuple[Part, ...]
    augmentations: tuple[Part, ...]
    filters: tuple[Part, ...]
    exports: tuple[Part, ...]
    crops: CropSettings
    optimizer: OptimizerSettings
    start_from: StartFrom | None = None
    mask: Mask | None = None
    overlay: Overlay | None = None
    stages: tuple[Part, ...] = ()
    """The stages, in order; empty if the recipe only generates an image."""
    sampler: Part | None = field(default=None, compare=False, repr=False)
    """The sampler of the initial image, for generators that start from a sample."""
    sources: tuple[tuple[str, str], ...] = field(default=(), compare=False, repr=False)
    warnings: tuple[Issue, ...] = field(default=(), compare=False, repr=False)
    tree: Node = field(default=Node({}, Mark("")), compare=False, repr=False)
    labels: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False)
    paths: tuple[Path, ...] = field(default=(), compare=False, repr=False)
    """The files that it was read from."""
    plugins: Plugins | None = field(default=None, compare=False, repr=False)
    """The plugins that it was loaded with, which are told when a run of it has ended."""

    def __getstate__(self) -> dict[str, Any]:
        """For pickle: without the plugins, which are modules."""
        return {**vars(self), "plugins": None}

    def moment(self, step: float) -> Moment:
        """The clock at a step, for `Value.at`."""
        return Moment(step, self.steps, self.fps, self.inputs)

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts of the recipe except stages."""
        return (
            *self.perceptors,
            self.generator,
            *self.losses,
            *self.augmentations,
            *self.filters,
            *self.exports,
        )

    def plugin_versions(self) -> dict[str, str]:
        """The version, or the digest of the file, of each plugin that the recipe uses."""
        used = [*self.parts, *self.stages]
        used += [part for each in used for part in nested_parts(each.settings)]
        return {part.plugin: part.version for part in sorted(used, key=lambda part: part.plugin)}

    @property
    def shown_size(self) -> tuple[int, int]:
        """Width and height of the image that is shown and exported: `size` after the filters."""
        size = self.size
        for part in self.filters:
            with Guard(f"output_size() of {part.name}", thorough=False):
                size = part.settings.output_size(size)
        return size

    @property
    def generates(self) -> bool:
        """Whether the recipe generates an image; if not, the settings of generation are unused."""
        return not self.stages or "draw" in self.stages[0].settings.can

    def stage_number(self, settings: Component) -> int:
        """The index, from 0, of the stage with this settings object."""
        return next(i for i, stage in enumerate(self.stages) if stage.settings is settings)

    def resolved(self) -> dict[str, Any]:
        """The recipe with all defaults written out, as plain data that loads to an equal recipe."""
        resolved = self._all_keys()
        if not self.generates:
            used_keys = ("pixweave", "title", "seed", "device", "precision", "perceptors", "stages")
            resolved = {key: resolved[key] for key in used_keys if key in resolved}
        return resolved

    def _all_keys(self) -> dict[str, Any]:
        names = [name for name in top_level.GeneralSettings.model_fields if name != "do"]
        head = {name: plain(getattr(self, name)) for name in names}
        inputs = {key: getattr(self, key) for key in top_level.BARE}
        return {
            "pixweave": top_level.FORMAT,
            **{k: v for k, v in head.items() if k not in ("title", "inputs") or v},
            **{key: plain(value) for key, value in inputs.items() if value is not None},
            "perceptors": [_part(part) for part in self.perceptors],
            "generator": _part(self.generator),
            "losses": [_part(part) for part in self.losses],
            "augmentations": [_part(part) for part in self.augmentations],
            "filters": [_part(part) for part in self.filters],
            "crops": plain(self.crops),
            "optimizer": plain(self.optimizer),
            "export": [_part(part) for part in self.exports],
            **({"stages": [_stage(stage) for stage in self.stages]} if self.stages else {}),
        }

    def resolved_yaml(self) -> str:
        """`resolved()` as YAML, with the origin of each value in a comment on its line."""
        lines = [*_lines(self.resolved(), (), "")]
        width = min(max((len(text) for text, _ in lines), default=0), 60)
        with_origin = ((text, self.origin(path) if path else "") for text, path in lines)
        return "".join(
            f"{text:<{width}}  # {origin}\n" if origin else f"{text}\n"
            for text, origin in with_origin
        )

    def explain(self, key: str | None = None) -> list[Row]:
        """All settings with value and origin, or only those at or below `key`.

        A key is a path such as `crops.count` or `losses.0`; list items can be given by id.
        """
        rows = [
            (".".join(map(str, path)), value, self.origin(path))
            for path, value in _leaves(self.resolved(), ())
        ]
        if key is None:
            return rows
        prefix = self._with_index(key)
        return [row for row in rows if row[0] == prefix or row[0].startswith(f"{prefix}.")]

    def origin(self, path: tuple[Any, ...]) -> str:
        """The origin of the value at a path of `resolved()`: a location, a preset, a default."""
        node = self.tree
        for step in path:
            inside = step in node or (
                isinstance(node.value, list) and isinstance(step, int) and step < len(node.value)
            )
            if inside:
                node = node[step]
            elif isinstance(node.value, (dict, list)):
                return self._default(path)
        return self._label(node)

    def _label(self, node: Node) -> str:
        mark = node.mark
        if mark.source.startswith("--set "):
            return "--set"
        if mark.source.startswith("argument "):
            return "argument"
        label = self.labels.get(mark.source, mark.source)
        return f"{label} {mark}" if label in ("recipe", "extends") else label

    def _default(self, path: tuple[Any, ...]) -> str:
        kind = top_level.KINDS.get(path[0])
        parts = [part for part in self.parts if part.kind == kind]
        if not kind or not parts or path[-1] in ("id", "weight"):
            return "default"
        index = path[1] if len(path) > 1 and isinstance(path[1], int) else 0
        return f"plugin {parts[index].plugin}"

    def _with_index(self, key: str) -> str:
        head, _, rest = key.partition(".")
        name, _, rest = rest.partition(".")
        parts = [part for part in self.parts if part.kind == top_level.KINDS.get(head)]
        ids = [part.id for part in parts]
        if head != "generator" and name in ids:
            name = str(ids.index(name))
        return ".".join(step for step in (head, name, rest) if step)


def _part(part: Part) -> dict[str, Any]:
    weight = {"weight": plain(part.weight)} if part.kind in top_level.WEIGHED else {}
    return {"use": part.use, "id": part.id, **weight, **plain(part.settings)}


def _stage(stage: Part) -> dict[str, Any]:
    """A stage as plain data, without nested parts that are not set."""
    parts = part_settings(type(stage.settings))
    settings = plain(stage.settings)
    return {
        "do": stage.use,
        **{key: value for key, value in settings.items() if key not in parts},
        **{key: settings[key] for key in parts if settings[key]},
    }


def plain(value: Any) -> Any:
    """Settings as plain data: numbers, texts, lists and dictionaries."""
    if isinstance(value, Part):
        return _part(value)
    if isinstance(value, BaseModel):
        return {name: plain(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, Value):
        return plain(value.raw)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Path):
        return str(value.absolute())
    return str(value) if isinstance(value, str) else value


def _leaves(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The paths and values of settings; a list of scalars, and keyframes, count as one value."""
    if isinstance(value, dict) and not _is_value(value, path):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for i, item in enumerate(value):
            yield from _leaves(item, (*path, i))
    elif path != ("pixweave",):
        yield path, value


def _is_value(value: dict[str, Any], path: tuple[Any, ...]) -> bool:
    return (
        bool(path)
        and not any(k in value for k in ("use", "file"))
        and any(key[:1].isdigit() or key in ("start", "end") for key in value)
    )


def _lines(value: Any, path: tuple[Any, ...], indent: str) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """YAML lines, each with the path of its value; scalars and lists of scalars take one line."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        here = (*path, key)
        lead = f"{indent}{flow_yaml(key)}:" if isinstance(value, dict) else f"{indent}-"
        if isinstance(item, dict) and item and not _is_value(item, here):
            inner = list(_lines(item, here, indent + "  "))
            if isinstance(value, list):  # the first line follows the dash
                yield f"{lead} {inner[0][0].strip()}", inner[0][1]
                yield from inner[1:]
            else:
                yield lead, ()
                yield from inner
        elif isinstance(item, list) and any(isinstance(i, dict) for i in item):
            yield lead, ()
            yield from _lines(item, here, indent + "  ")
        else:
            yield f"{lead} {flow_yaml(item)}", here if here != ("pixweave",) else ()


class _Dumper(yaml.SafeDumper):
    """Quotes every text that YAML 1.1 or 1.2 would read as another type."""

    def text(self, value: str) -> yaml.ScalarNode:
        style = None if is_plain_text(value) else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _Dumper.text)


def flow_yaml(value: Any) -> str:
    """A value on one line."""
    text: str = yaml.dump(
        value,
        Dumper=_Dumper,
        default_flow_style=True,
        width=10**9,
        allow_unicode=True,
        sort_keys=False,
    )
    return text.removesuffix("\n").removesuffix("\n...")
