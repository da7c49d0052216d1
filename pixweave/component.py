"""Component: the settings of a part. Part: its entry in a recipe. BuildContext: what it is given.

A plugin's hook offers components by name. A recipe that uses one has a Part, its validated settings
under an id. `Part.settings.build(run)` makes the instance that does the work; `run` is the
BuildContext of that one part. What `build` must return is in `pixweave.protocols`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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
    """A frozen set of typed values; unknown names are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", arbitrary_types_allowed=True, defer_build=True
    )


class Component(Settings):
    """Settings of one part of a recipe: typed, frozen, unknown keys refused.

    A plugin subclasses it, gives every setting a default or a type and a `Field(description=...)`,
    and implements `build`. The names `use`, `do`, `id` and `weight` belong to the recipe. The
    module that defines a component must not import torch at its top: that belongs in `build`.

    All below `build` is optional, and has a meaning for some kinds of parts only.
    """

    reserved: ClassVar[frozenset[str]] = frozenset({"use", "do", "id", "weight"})

    can: ClassVar[frozenset[str]] = frozenset()
    """Abilities that `validate` relies on: a recipe that asks for another is refused.

    Generators: `start_from` (begin as a picture), `latent` (has a latent in which distances mean
    something), `alpha` (makes transparency, if its settings say so), `svg` (has `svg()`),
    `without_losses` (makes sense in a recipe that has no prompts and no losses). Filters:
    `stateless` (a frame's result depends on that frame alone, so frames that nobody exports are not
    filtered). Stages: `draw` (draws the recipe's picture; must come first),
    `input_optional` (makes sense as a first stage without `input`).
    """

    natural_rate: ClassVar[float | Mapping[str, float]] = 0.05
    """Generators: the learning rate over time where the recipe sets no `optimizer.rate`."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    """Exporters: endings of the files that it writes, such as `.png`; `/` for a folder."""

    suffix: ClassVar[str] = ""
    """Trainers: the ending of the file that it writes."""

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """What is wrong with these settings in this recipe; runs in `validate`, without torch."""
        return ()

    def build(self, run: Any) -> Any:
        """Make the instance that does the work, once per run; see `pixweave.protocols`.

        `run` is a BuildContext; for searchers, executors, trainers and stages the context that
        their protocol names.
        """
        raise NotImplementedError(f"{type(self).__name__} has no build(run)")

    def fit_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Generators: the size (width, height) nearest to `size` that it can make."""
        return size

    def output_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Filters: the size that a picture of `size` (width, height) has after it."""
        return size

    def identity(self) -> str | None:
        """Perceptors: equal where vectors may be compared, such as a digest of the weights.

        Runs without torch. Vectors of texts are kept on disk under it; None: they are not kept.
        """
        return None

    def reference(self) -> Any:
        """Perceptors: another implementation of the same model, to compare with; None: none."""
        return None

    def count_steps(self, recipe: RecipeInfo) -> int:
        """Stages: how many optimisation steps it will take, for the progress bar."""
        return 0


@dataclass(frozen=True)
class Part:
    """One part of a recipe: which component, under which id, with which settings.

    `weight` multiplies a loss or a perceptor over time; for other kinds it is 1. `plugin` is the
    name of the plugin that offers the component; `mark` is the place of the part in the recipe, and
    `locate("grid.0")` that of a setting. Equality ignores where it was written.

    As the type of a setting it means a nested part, see `PartOf`.
    """

    kind: str
    use: str
    id: str
    weight: Value
    settings: Component
    plugin: str = field(compare=False)
    mark: Mark = field(compare=False, repr=False)
    locate: Callable[[str], Mark] = field(compare=False, repr=False)

    @property
    def name(self) -> str:
        """How messages name it: `loss 'prompt'`."""
        return f"{self.kind} '{self.use}'"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.is_instance_schema(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        return {"type": "object"}


@dataclass(frozen=True)
class PartSetting:
    """What `PartOf` says of a setting: the kind of part, whether it is a list, its default."""

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

    In a recipe it is written like any part, as a name or as `{use: name, ...}`; it is validated,
    explained and found in the schema like one. `run.make(self.inner)` builds it. With `many` the
    setting is a list: `judges: tuple[Part, ...]`. `default` is what stands there when the recipe
    says nothing: a name, a mapping with `use`, or None; without it the setting is required.
    `inline` names a component whose settings may be written directly beside the setting's own.
    """
    start = () if many else None
    extra = PartSetting(kind, many, None if default is ... else default, inline)
    return Field(... if default is ... else start, description=description, json_schema_extra=extra)


def part_settings(component: type[BaseModel]) -> dict[str, PartSetting]:
    """The settings of a component that are parts, by name."""
    found: Mapping[str, FieldInfo] = component.model_fields
    return {
        name: info.json_schema_extra
        for name, info in found.items()
        if isinstance(info.json_schema_extra, PartSetting)
    }


class RecipeInfo(Protocol):
    """What a part may ask of the recipe that it is used in; `pixweave.load` gives one.

    Sizes are (width, height) in pixels. Parts are in the order of the recipe.
    """

    @property
    def name(self) -> str:
        """The recipe's file name without its ending."""

    @property
    def title(self) -> str:
        """What a person calls the result, or ''."""

    @property
    def seed(self) -> int:
        """Where all randomness comes from."""

    @property
    def size(self) -> tuple[int, int]:
        """The size of the generator's picture."""

    @property
    def shown_size(self) -> tuple[int, int]:
        """The size of what is exported: `size` after the filters."""

    @property
    def steps(self) -> int:
        """How many optimisation steps a picture takes."""

    @property
    def fps(self) -> float:
        """Steps per second of the clock, and frames per second of films."""

    @property
    def generator(self) -> Part:
        """What makes the picture."""

    @property
    def perceptors(self) -> tuple[Part, ...]:
        """What understands pictures and texts."""

    @property
    def losses(self) -> tuple[Part, ...]:
        """What is wanted of the picture, prompts included."""

    @property
    def augmentations(self) -> tuple[Part, ...]:
        """What changes the crops."""

    @property
    def filters(self) -> tuple[Part, ...]:
        """What is done to the picture before it is shown."""

    @property
    def exports(self) -> tuple[Part, ...]:
        """The files to write."""

    @property
    def stages(self) -> tuple[Part, ...]:
        """What is done in turn; none where the recipe only draws."""

    @property
    def sampler(self) -> Part | None:
        """What draws a first picture for generators that start from a sample."""

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
        """Which of the stages has these very settings, from 0 on."""


class CanvasInfo(Protocol):
    """The picture that the recipe starts from."""

    @property
    def start(self) -> Tensor | None:
        """`[1, 3 or 4, H, W]` as it lies on the canvas, without noise; None if there is none."""


class BuildContext(Protocol):
    """What `build(run)` is given: the run, as one part sees it while it is built.

    A context belongs to one part and does not change. Parts are built in this order: generator,
    perceptors, augmentations, losses, filters, exporters; what is not built yet is not to be had.
    """

    @property
    def part(self) -> Part:
        """The entry of the recipe that is being built."""

    @property
    def recipe(self) -> RecipeInfo:
        """The whole recipe."""

    @property
    def device(self) -> torch.device:
        """Where the run computes."""

    @property
    def dtype(self) -> torch.dtype:
        """The precision of large models; pictures are float32 always."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the generator's picture in pixels."""

    @property
    def folder(self) -> Path:
        """The run folder."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """What exporters write into their files beside the picture: the resolved recipe."""

    @property
    def text_only(self) -> bool:
        """Whether perceptors will see texts alone, and may leave their image tower out."""

    @property
    def perceptors(self) -> Mapping[str, Perceptor]:
        """The recipe's perceptors by id."""

    @property
    def generator(self) -> Generator:
        """The generator; not while it is built itself."""

    @property
    def canvas(self) -> CanvasInfo:
        """What the recipe starts from; not for the generator."""

    def rng(self, name: str, step: int | None = None) -> torch.Generator:
        """A fresh CPU generator for a named purpose: same name, step and seed, same draws."""

    def make(self, part: Part) -> Any:
        """Build a nested part.

        Perceptors, codecs and samplers keep no state: of those with equal settings there is one for
        the whole run, whoever asks. Anything else is built anew at each call.
        """

    def encode_texts(self, perceptor: str, texts: Sequence[str]) -> Tensor:
        """Unit vectors float32 `[P, D]` of texts, by the perceptor with that id.

        Texts that were encoded before come from the disk; see `pixweave.embedding`.
        """
