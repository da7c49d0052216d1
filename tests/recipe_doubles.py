"""A small set of parts for the tests of recipes: none of them can be built."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Literal

import pixweave_stages

from pixweave.component import Component, Field, Issue, RecipeInfo
from pixweave.errors import RecipeError
from pixweave.hookspecs import hookimpl
from pixweave.plugins import Plugins
from pixweave.recipe import InputFile, Recipe, Value, load_text, over_time


class Pixel(Component):
    """Cells."""

    grid: tuple[int, int] | None = Field(None, description="cells across and down")
    cell: Literal["square", "hex"] = Field("square", description="shape of the cells")
    palette: str | list[str] | None = Field(None, description="a name or a list of colours")
    alpha: bool = Field(False, description="cells may be transparent")
    start: float = Field(0.05, ge=0, le=1, description="contrast at the start")

    def fit_size(self, size: tuple[int, int]) -> tuple[int, int]:
        if self.grid is None:
            return size
        width, height = self.grid
        side = max(1, min(size[0] // width, size[1] // height))
        return width * side, height * side

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        if self.cell == "hex" and self.grid is None:
            yield Issue("cell", "hexagons need a grid", "set grid: [32, 32]")
        if self.alpha and recipe.steps < 10:
            yield Issue("alpha", "few steps leave holes", fatal=False)

    def build(self, run: Any) -> Any:
        raise NotImplementedError


class Other(Pixel):
    """Another generator."""

    codebook: int = Field(64, description="how many codes")


class Tiny(Component):
    """A perceptor."""

    def build(self, run: Any) -> Any:
        raise NotImplementedError


class Prompt(Component):
    """A wish in words."""

    text: str | None = Field(None, min_length=1, description="what to show")
    image: InputFile | None = Field(None, description="a picture")

    def build(self, run: Any) -> Any:
        raise NotImplementedError


class Smoothness(Component):
    """Flat areas."""

    amount: Value = over_time(0.5, ge=0, le=1, description="how flat")
    kind: Literal["edges", "even"] = Field("edges", description="which")
    scale: int = Field(64, ge=8, le=4096, description="long side")

    def build(self, run: Any) -> Any:
        raise NotImplementedError


class Colours(Component):
    """Needs a setting."""

    colors: list[str] = Field(min_length=1, description="a list of colours")
    limits: tuple[float, float] = Field((0, 1), description="least and most")

    def build(self, run: Any) -> Any:
        raise NotImplementedError


class Jitter(Component):
    """Colours change."""

    hue: float = Field(0.05, ge=0, le=0.5, description="turn of the hue")

    def build(self, run: Any) -> Any:
        raise NotImplementedError


class Noise(Component):
    """Noise."""

    amount: float = Field(0.1, ge=0, le=1, description="strength")

    def build(self, run: Any) -> Any:
        raise NotImplementedError


class Png(Component):
    """One picture."""

    suffixes: ClassVar[tuple[str, ...]] = (".png",)
    file: str = Field("picture.png", description="its name")

    def build(self, run: Any) -> Any:
        raise NotImplementedError


class Film(Component):
    """A film."""

    suffixes: ClassVar[tuple[str, ...]] = (".mp4", ".gif")
    file: str = Field("film.mp4", description="its name")
    fps: float | None = Field(None, gt=0, le=240, description="frames per second")

    def build(self, run: Any) -> Any:
        raise NotImplementedError


class Doubles:
    """All of them as one plugin."""

    @hookimpl
    def register_generators(self) -> dict[str, type[Component]]:
        return {"pixel": Pixel, "other": Other}

    @hookimpl
    def register_perceptors(self) -> dict[str, type[Component]]:
        return {"tiny": Tiny}

    @hookimpl
    def register_losses(self) -> dict[str, type[Component]]:
        return {"prompt": Prompt, "smoothness": Smoothness, "colours": Colours}

    @hookimpl
    def register_augmentations(self) -> dict[str, type[Component]]:
        return {"jitter": Jitter, "noise": Noise}

    @hookimpl
    def register_exporters(self) -> dict[str, type[Component]]:
        return {"png": Png, "film": Film}


def doubles() -> Plugins:
    """The doubles and nothing that is installed."""
    plugins = Plugins.discover(entry_points=False)
    plugins.add(Doubles(), "doubles")
    plugins.add(pixweave_stages, "pixweave_stages")
    return plugins


def recipe(
    text: str, *sets: str, folder: Path = Path("/nowhere"), plugins: Plugins | None = None
) -> Recipe:
    """The recipe in a text called fox.yaml."""
    return load_text(text, "fox.yaml", folder, plugins or doubles(), sets)


def complaint(text: str, *sets: str, folder: Path = Path("/nowhere")) -> str:
    """Everything that is said about a wrong recipe."""
    try:
        made = recipe(text, *sets, folder=folder)
    except RecipeError as error:
        return str(error)
    raise AssertionError(f"the recipe is not wrong: {made}")


def lines(*said: str) -> str:
    """Lines as one text."""
    return "\n".join(said)
