"""Component: the settings of a part, and how to build it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pixweave.errors import PluginError, RunError

if TYPE_CHECKING:
    from pixweave.engine.run import Run
    from pixweave.plugins import Plugins
    from pixweave.recipe import Recipe

__all__ = ["Complaint", "Component", "Field", "Settings"]


@dataclass(frozen=True)
class Complaint:
    """What a component finds wrong with its settings in a given recipe; see `Component.check`."""

    setting: str
    message: str
    hint: str = ""
    fatal: bool = True


class Settings(BaseModel):
    """A frozen set of typed values; unknown names are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Component(Settings):
    """Settings of one part of a recipe: typed, frozen, unknown keys refused.

    A plugin subclasses it, gives every setting a default or a type and a `Field(description=...)`,
    and implements `build`. The names `use`, `id` and `weight` belong to the recipe. The module that
    defines a component must not import torch at its top: heavy imports belong in `build`.
    """

    reserved: ClassVar[frozenset[str]] = frozenset({"use", "id", "weight"})

    can: ClassVar[frozenset[str]] = frozenset()
    """What a generator can do beyond drawing: `start_from` (begin as a picture), `latent` (has a
    latent in which distances mean something), `alpha` (makes transparency, if its settings say so).
    What a part cannot do is refused when a recipe is validated."""

    def check(self, recipe: Recipe) -> Iterable[Complaint]:
        """What is wrong with these settings in this recipe; runs in `validate`, without torch."""
        return ()

    def build(self, run: Run) -> Any:
        """Make the live part, once per run; `run.part` says for which entry of the recipe."""
        raise NotImplementedError(f"{type(self).__name__} has no build(run)")


def component_of(plugins: Plugins, kind: str, entry: Mapping[str, Any]) -> Component:
    """A component of a kind that recipes do not have, from `use` and its settings.

    Raises PluginError where there is none of that name, RunError where a setting is wrong.
    """
    try:
        offer = plugins.find(kind, entry["use"])
    except LookupError as error:
        message, hint = (*error.args, "")[:2]
        raise PluginError(f"{message}; {hint}" if hint else str(message)) from None
    try:
        return offer.component(**{k: v for k, v in entry.items() if k != "use"})
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise RunError(
            f"'{name}' of {kind} '{offer.name}' is wrong: {first['msg'].lower()}; "
            f"see `pixweave show {offer.name}`"
        ) from None
