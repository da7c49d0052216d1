"""Generator `pixel`: a grid of coloured cells, coarse to fine, with or without a palette."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pixweave import Component, Field, Issue
from pixweave.media.palettes import Palette
from pixweave.recipe.sample_setting import SAMPLE, check_sample

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pixweave.component import BuildContext, RecipeInfo


_RATIOS = {"brick": 2, "hex": 2 / 3**0.5, "triangle": 1 / 3**0.5, "diamond": 2, "knit": 1.4}
"""Distance of the columns over that of the rows, in shapes that are regular; knit as in wool."""


class Pixel(Component):
    """A picture of w x h cells, drawn crisp at any size: pixel art, mosaics, sprites.

    The colours are the sum of a pyramid of grids from coarse to fine, so that large shapes form
    before details. With a palette every cell shows its nearest palette colour and the gradient
    passes straight through.
    """

    can: ClassVar[frozenset[str]] = frozenset({"start_from", "latent", "alpha", "svg"})
    natural_rate: ClassVar[dict[str, float]] = {"0": 0.04, "end": 0.004}

    grid: tuple[int, int] | None = Field(
        None,
        description="cells across and down; by default about 32 on the long side if square, and "
        "as many regular ones of another shape",
    )
    cell: Literal["square", "rect", "brick", "hex", "triangle", "diamond", "knit"] = Field(
        "square",
        description="shape of the cells: square, of whole pixels; rect, of any ratio; brick, rows "
        "shifted by half a cell; hex; triangle; diamond; knit, stitches of a jumper",
    )
    palette: Palette | None = Field(
        None, description="a named set, a .gpl, .hex or picture file, or a list of colours"
    )
    alpha: bool = Field(False, description="cells may be transparent, for sprites")
    coarsest: int = Field(
        6,
        ge=1,
        description="cells on the short side of the coarsest grid of the pyramid; the size "
        "of the grid itself, or more, for no pyramid",
    )
    start: float = Field(0.02, ge=0, le=1, description="contrast of the noise it starts from")
    sample: bool = Field(False, description=SAMPLE)

    def fit_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The picture size at which all cells are equal squares of whole pixels."""
        if self.cell != "square":
            return size
        columns, rows = self.cells(size)
        if min(columns, rows) < 1 or columns > size[0] or rows > size[1]:
            return size  # `check` says what is wrong
        side = min(size[0] // columns, size[1] // rows)
        return columns * side, rows * side

    def cells(self, size: tuple[int, int]) -> tuple[int, int]:
        """Columns and rows of the grid for a picture of that size."""
        if self.grid is not None:
            return self.grid
        side = max(1, round(max(size) / 32))
        ratio = _RATIOS.get(self.cell, 1) ** 0.5
        return max(1, int(size[0] / side / ratio)), max(1, int(size[1] / side * ratio))

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """The grid must have at least a cell and fit into the picture; a sample needs a prompt."""
        if self.sample:
            yield from check_sample(recipe)
        columns, rows = self.cells(recipe.size)
        if min(columns, rows) < 1:
            yield Issue("grid", f"a grid of {columns}x{rows} has no cell", "use 1 or more")
        elif columns > recipe.size[0] or rows > recipe.size[1]:
            width, height = recipe.size
            yield Issue(
                "grid",
                f"a grid of {columns}x{rows} cells does not fit into {width}x{height} pixels",
                f"set size to at least [{columns}, {rows}]",
            )

    def build(self, run: BuildContext) -> Any:
        """The live grid; see `pixweave_pixel.grid`."""
        from pixweave_pixel.grid import PixelGrid

        return PixelGrid(self, run)
