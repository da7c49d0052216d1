"""Generator `pixel`: a grid of coloured cells, coarse to fine, with or without a palette."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pixweave import Component, Field, Issue
from pixweave.media.palettes import Palette
from pixweave.recipe.sample_setting import SAMPLE, check_sample

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pixweave.component import BuildContext, RecipeInfo


_RATIOS = {"brick": 2, "hex": 2 / 3**0.5, "triangle": 1 / 3**0.5, "diamond": 2, "knit": 1.4}
"""Ratio of the distance of columns to that of rows for regular cells; knit as in wool."""

Cells = Annotated[int, Field(ge=1)]


class Pixel(Component):
    """An image of w x h cells with sharp edges at any size: pixel art, mosaics, sprites.

    The colours are the sum of a pyramid of grids from coarse to fine, so that large shapes form
    before details. With a palette every cell shows the nearest palette colour, with a
    straight-through gradient.
    """

    can: ClassVar[frozenset[str]] = frozenset({"start_from", "latent", "alpha", "svg"})
    natural_rate: ClassVar[dict[str, float]] = {"0": 0.04, "end": 0.004}

    grid: tuple[Cells, Cells] | None = Field(
        None,
        description="number of cells across and down; by default about 32 on the long side for "
        "square cells, and as many regular cells for other shapes",
    )
    cell: Literal["square", "rect", "brick", "hex", "triangle", "diamond", "knit"] = Field(
        "square",
        description="cell shape: square, of whole pixels; rect, of any ratio; brick, rows "
        "shifted by half a cell; hex; triangle; diamond; knit, knitted stitches",
    )
    palette: Palette | None = Field(
        None, description="a palette name, a .gpl, .hex or image file, or a list of colours"
    )
    alpha: bool = Field(False, description="allow transparent cells, for sprites")
    coarsest: int = Field(
        6,
        ge=1,
        description="cells on the short side of the coarsest pyramid level; set it to the size "
        "of the grid or more to turn the pyramid off",
    )
    start: float = Field(0.02, ge=0, le=1, description="contrast of the initial noise")
    sample: bool = Field(False, description=SAMPLE)

    def fit_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The image size at which all cells are equal squares of whole pixels."""
        if self.cell != "square":
            return size
        columns, rows = self.cells(size)
        if columns > size[0] or rows > size[1]:
            return size  # `check` reports this
        side = min(size[0] // columns, size[1] // rows)
        return columns * side, rows * side

    def cells(self, size: tuple[int, int]) -> tuple[int, int]:
        """Columns and rows of the grid for an image of that size."""
        if self.grid is not None:
            return self.grid
        side = max(1, round(max(size) / 32))
        ratio = _RATIOS.get(self.cell, 1) ** 0.5
        return max(1, int(size[0] / side / ratio)), max(1, int(size[1] / side * ratio))

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """The grid must fit the image; a sample needs a prompt."""
        if self.sample:
            yield from check_sample(recipe)
        columns, rows = self.cells(recipe.size)
        if columns > recipe.size[0] or rows > recipe.size[1]:
            width, height = recipe.size
            yield Issue(
                "grid",
                f"a grid of {columns}x{rows} cells does not fit in {width}x{height} pixels",
                f"set size to at least [{columns}, {rows}]",
            )

    def build(self, run: BuildContext) -> Any:
        """The generator; see `pixweave_pixel.grid`."""
        from pixweave_pixel.grid import PixelGrid

        return PixelGrid(self, run)
