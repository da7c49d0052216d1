"""Component: the settings of a part, and how to build it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

if TYPE_CHECKING:
    from pixweave.recipe import Recipe
    from pixweave.run import Run

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
