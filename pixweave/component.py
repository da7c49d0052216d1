"""Component: the settings of a part. Part: its entry in a recipe. BuildContext: what `build` gets.

A plugin's hook registers components by name. A recipe that uses one has a Part, with an id and the
validated settings. `Part.settings.build(run)` makes the instance that does the work; `run` is the
BuildContext of that part. `pixweave.protocols` defines what `build` must return.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import core_schema

from pixweave.errors import Issue, Mark
from pixweave.timeline.values import Value

if TYPE_CHECKING:
    import torch
    from pydantic.fields import FieldInfo
    from torch import Tensor

    from pixweave.protocols import Generator, Perceptor
    from pixweave.timeline.values import Moment

__all__ = [
    "BuildContext",
    "Component",
    "Field",
    "Issue",
    "Part",
    "PartOf",
    "RecipeInfo",
    "Settings",
    "part_settings",
]


class Settings(BaseModel):
    """A frozen pydantic model of typed settings; unknown names are rejected."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, defer_build=True
    )


class Component(Settings):
    """Settings of one part of a recipe: typed, frozen, unknown keys rejected.

    A plugin subclasses it, gives every setting a default or a type and a `Field(description=...)`,
    and implements `build`. The names `use`, `do`, `id` and `weight` belong to the recipe. The
    module that defines a component must not import torch at its top: that belongs in `build`.

    Everything below `build` is optional, and applies to some kinds of parts only.
    """

    reserved: ClassVar[frozenset[str]] = frozenset({"use", "do", "id", "weight"})

    can: ClassVar[frozenset[str]] = frozenset()
    """Capabilities; `validate` rejects a recipe that needs one that is missing.

    Generators: `start_from` (can start from an image), `latent` (has a latent space with meaningful
    distances), `alpha` (can produce transparency, depending on its settings), `svg` (has `svg()`),
    `without_losses` (works in a recipe without prompts and losses). Filters: `stateless` (the
    result depends on one frame only, so frames that are not exported are not filtered). Stages:
    `draw` (generates the recipe's image; must come first), `input_optional` (works as a first stage
    without `input`).
    """

    natural_rate: ClassVar[float | Mapping[str, float]] = 0.05
    """Generators: the default learning rate, unless `optimizer.rate` is set."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    """Exporters: extensions of the files that it writes, such as `.png`; `/` for a folder."""

    example: ClassVar[Mapping[str, Any]] = {}
    """Settings for `pixweave plugins check` and `show`, if some settings have no default."""

    suffix: ClassVar[str] = ""
    """Trainers: the extension of the file that it writes, such as `.safetensors`."""

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """The issues of these settings in this recipe; runs in `validate`, without torch."""
        return ()

    def build(self, run: Any) -> Any:
        """Make the instance that does the work, once per run; see `pixweave.protocols`.

        `run` is a BuildContext, or, for searchers, executors, trainers and stages, the context
        that their protocol defines.
        """
        raise NotImplementedError(f"{type(self).__name__} has no build(run)")

    def fit_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Generators: the supported size (width, height) nearest to `size`, in pixels."""
        return size

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Filters: the output size (width, height) for an input of `size`, in pixels."""
        return size

    def identity(self) -> str | None:
        """Perceptors: a key, equal if and only if vectors may be compared, e.g. a weights digest.

        Runs without torch. It keys the cache of text vectors on disk; None disables that cache.
        """
        return None

    def reference(self) -> Any:
        """Perceptors: another implementation of the same model, for the self-check, or None."""
        return None

    def count_steps(self, recipe: RecipeInfo) -> int:
        """Stages: the number of optimisation steps it will take, for the progress bar."""
        return 0


@dataclass(frozen=True)
class Part:
    """One part of a recipe: its component, id and settings.

    `weight` multiplies a loss or a perceptor over time; for other kinds it is 1. `plugin` is the
    name of the plugin that registers the component; `mark` is the source location of the part, and
    `locate("grid.0")` that of a setting. `version` is that of the plugin's package, or the digest
    of its file; `bundled`: it ships with pixweave. Equality ignores the location and the version.

    As the type of a setting it declares a nested part, see `PartOf`.
    """

    kind: str
    use: str
    id: str
    weight: Value
    settings: Component
    plugin: str = field(compare=False)
    mark: Mark = field(compare=False, repr=False)
    locate: Callable[[str], Mark] = field(compare=False, repr=False)
    version: str = field(default="", compare=False)
    bundled: bool = field(default=True, compare=False)

    @property
    def name(self) -> str:
        """The name in messages: `loss 'prompt'`."""
        return f"{self.kind} '{self.use}'"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.is_instance_schema(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        return {"type": "object"}


@dataclass(frozen=True)
class PartSetting:
    """The metadata of a `PartOf` setting: the kind of part, whether it is a list, its default."""

    kind: str
    many: bool = False
    default: Any = None
    inline: str = ""

    def __call__(self, schema: dict[str, Any]) -> None:
        """Mark the setting in a JSON schema, for `pixweave.recipe.json_schema`."""
        schema.pop("anyOf", None)
        schema.pop("items", None)
        schema["x-part"] = self.kind
        schema["type"] = "array" if self.many else "object"


def PartOf(  # noqa: N802 - used where a type would be, like pydantic's Field
    kind: str,
    *,
    description: str,
    many: bool = False,
    default: Any = ...,
    inline: str = "",
) -> Any:
    """A setting that is itself a part: `inner: Part = PartOf("generator", description="...")`.

    In a recipe it is written like any part, as a name or as `{use: name, ...}`, and is validated,
    explained and included in the schema like one. `run.make(self.inner)` builds it. With `many` the
    setting is a list: `judges: tuple[Part, ...]`. `default` is the value if the recipe does not set
    it: a name, a mapping with `use`, or None; without a default the setting is required.
    `inline` names a component whose settings may be written directly beside the component's own.
    """
    empty = () if many else None
    extra = PartSetting(kind, many, None if default is ... else default, inline)
    return Field(... if default is ... else empty, description=description, json_schema_extra=extra)


def part_settings(component: type[BaseModel]) -> dict[str, PartSetting]:
    """The settings of a component that are nested parts, by name."""
    fields: Mapping[str, FieldInfo] = component.model_fields
    return {
        name: info.json_schema_extra
        for name, info in fields.items()
        if isinstance(info.json_schema_extra, PartSetting)
    }


def nested_parts(settings: Component) -> Iterator[Part]:
    """The nested parts of a component, recursively."""
    for name in part_settings(type(settings)):
        value = getattr(settings, name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Part):
                yield part
                yield from nested_parts(part.settings)


class RecipeInfo(Protocol):
    """What a part can read from its recipe; `pixweave.load` returns one.

    Sizes are (width, height) in pixels. Parts are in the order of the recipe.
    """

    @property
    def name(self) -> str:
        """The recipe's file name without its extension."""

    @property
    def title(self) -> str:
        """The title of the result, or ''."""

    @property
    def seed(self) -> int:
        """The seed of all random numbers."""

    @property
    def size(self) -> tuple[int, int]:
        """The size of the generator's image."""

    @property
    def shown_size(self) -> tuple[int, int]:
        """The size of the exported image: `size` after the filters."""

    @property
    def steps(self) -> int:
        """The number of optimisation steps."""

    @property
    def fps(self) -> float:
        """Steps per second of the clock, and frames per second of films."""

    @property
    def generator(self) -> Part:
        """The generator, which makes the image."""

    @property
    def perceptors(self) -> tuple[Part, ...]:
        """The perceptors, which encode images and texts."""

    @property
    def losses(self) -> tuple[Part, ...]:
        """The losses, including the prompts."""

    @property
    def augmentations(self) -> tuple[Part, ...]:
        """The augmentations of the crops."""

    @property
    def filters(self) -> tuple[Part, ...]:
        """The filters, applied to the image before it is shown or exported."""

    @property
    def exports(self) -> tuple[Part, ...]:
        """The files to write."""

    @property
    def stages(self) -> tuple[Part, ...]:
        """The stages, in order; empty if the recipe only generates an image."""

    @property
    def sampler(self) -> Part | None:
        """The sampler of the initial image, for generators that start from a sample."""

    @property
    def start_from(self) -> object | None:
        """The settings of `start_from`, or None."""

    @property
    def mask(self) -> object | None:
        """The settings of `mask`, or None."""

    @property
    def overlay(self) -> object | None:
        """The settings of `overlay`, or None."""

    def moment(self, step: float) -> Moment:
        """The clock at a step, for `Value.at`."""

    def stage_number(self, settings: Component) -> int:
        """The index, from 0, of the stage with this settings object."""


class CanvasInfo(Protocol):
    """The image that the recipe starts from."""

    @property
    def start(self) -> Tensor | None:
        """The fitted start image `[1, 3 or 4, H, W]`, 0..1, without noise, or None."""


class BuildContext(Protocol):
    """The argument of `build(run)`: the run, as seen by one part.

    A context belongs to one part and does not change. Parts are built in this order: generator,
    perceptors, augmentations, losses, filters, exporters; a part can use only those built before.
    """

    @property
    def part(self) -> Part:
        """The part that is being built."""

    @property
    def recipe(self) -> RecipeInfo:
        """The whole recipe."""

    @property
    def device(self) -> torch.device:
        """The device of the run."""

    @property
    def dtype(self) -> torch.dtype:
        """The precision of large models; images are always float32."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the generator's image in pixels."""

    @property
    def folder(self) -> Path:
        """The run folder."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """The metadata that exporters embed in their files: the resolved recipe."""

    @property
    def text_only(self) -> bool:
        """Whether perceptors will encode only texts, and need not load their image encoder."""

    @property
    def perceptors(self) -> Mapping[str, Perceptor]:
        """The recipe's perceptors by id."""

    @property
    def generator(self) -> Generator:
        """The generator; not available while it is being built."""

    @property
    def canvas(self) -> CanvasInfo:
        """The image that the recipe starts from; not available to the generator."""

    def rng(self, name: str, step: int | None = None) -> torch.Generator:
        """A new CPU random generator; the same seed, name and step give the same numbers."""

    def make(self, part: Part) -> Any:
        """Build a nested part.

        Perceptors, codecs and samplers keep no state: those with equal settings are built once per
        run and shared. Any other part is built again at each call.
        """

    def encode_texts(self, perceptor: str, texts: Sequence[str]) -> Tensor:
        """Unit vectors float32 `[P, D]` of `texts`, encoded by the perceptor with that id.

        Texts that were encoded before are read from the disk cache; see `pixweave.embedding`.
        """
