"""The `pixel` generator: a pyramid of colour grids, a palette, and cells drawn by a gather."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pixweave.engine.sample_start import sampled_start
from pixweave.media import svg
from pixweave_pixel.cells import cell_map, outlines

if TYPE_CHECKING:
    from pixweave.component import BuildContext
    from pixweave_pixel.pixel_settings import Pixel

SLOPE = 4.0
"""Steepness of the sigmoid: at middle grey the colour changes by as much as the sum."""
LIMIT = 2.5
NEAREST = 1e-3
"""Distance to 0 and 1 that start images are clamped to: less than half of an 8-bit level, and with
enough gradient left to change again."""


GENTLE = {"0": 0.004, "end": 0.001}
"""The learning rate after a sampled start, which has most of its shapes already."""


class PixelGrid:
    """Cells `[1, C, rows, columns]` shown as an image `[1, C, H, W]`; C is 4 with alpha, else 3.

    The value of a cell is the sigmoid of the sum of all pyramid levels at its position (the
    multi-resolution parametrisation of feature visualisation: Mordvintsev et al. 2018).
    """

    def __init__(self, settings: Pixel, run: BuildContext) -> None:
        self.size, self.shape = run.size, settings.cell
        columns, rows = settings.cells(run.size)
        self.map: Tensor | None = None
        if settings.cell != "square":
            self.map = cell_map(settings.cell, columns, rows, run.size).to(run.device)
        rng = run.rng("generator/start")
        self.levels = []
        for level_rows, level_columns in _pyramid(rows, columns, settings.coarsest):
            shape = (1, 4 if settings.alpha else 3, level_rows, level_columns)
            noise = torch.randn(shape, generator=rng) * settings.start
            self.levels.append(noise.to(run.device).requires_grad_())
        with torch.no_grad():
            if settings.alpha:
                self.levels[-1][:, 3] += 0.25  # start mostly opaque: hidden cells get no gradient
        self.palette: Tensor | None = None
        if settings.palette is not None:
            self.palette = torch.tensor(settings.palette, dtype=torch.uint8)
            self._colours = (self.palette.float() / 255).to(run.device)
        if settings.sample and (first := sampled_start(run, rng)) is not None:
            self.natural_rate = GENTLE
            self.start_from(first)
        self.info = f"{columns}x{rows} {settings.cell} cells, {len(self.levels)} levels"

    def parameters(self) -> list[Tensor]:
        """One grid per pyramid level, coarsest first."""
        return self.levels

    def cells(self) -> Tensor:
        """The cells `[1, C, rows, columns]`, 0..1; palette colours if a palette is set."""
        total = torch.sigmoid(SLOPE * self.latents())
        return total if self.palette is None else self._snap(total)

    def latents(self) -> Tensor:
        """The sum of all levels `[1, C, rows, columns]`; the cells are its sigmoid."""
        finest = self.levels[-1]
        total = finest
        for level in self.levels[:-1]:
            total = total + F.interpolate(
                level, finest.shape[-2:], mode="bilinear", align_corners=False
            )
        return total

    def image(self) -> Tensor:
        """The image; every pixel has exactly the colour of its cell."""
        cells = self.cells()
        self.drawn = cells.detach()
        if self.map is None:
            side = self.size[0] // cells.shape[3]
            return cells.repeat_interleave(side, 2).repeat_interleave(side, 3)
        width, height = self.size
        return cells.flatten(2).index_select(2, self.map).view(1, -1, height, width)

    def svg(self) -> str:
        """The cells of the last image as SVG: one path for all cells of a colour."""
        _, _, rows, columns = self.drawn.shape
        corners = outlines(self.shape, columns, rows, self.size).tolist()
        colours = (self.drawn[0].flatten(1).T.cpu() * 255).round() / 255
        outlines_of: dict[tuple[float, ...], list[str]] = {}
        for colour, points in zip(colours.tolist(), corners, strict=True):
            line = " ".join(f"{svg.number(x)} {svg.number(y)}" for x, y in points)
            outlines_of.setdefault(tuple(colour), []).append(f"M{line}z")
        paths = [
            f'<path fill="{svg.colour(colour[:3])}"'
            f"{svg.opacity('fill-opacity', colour[3]) if len(colour) == 4 else ''} "
            f'd="{"".join(lines)}"/>'
            for colour, lines in outlines_of.items()
            if len(colour) == 3 or colour[3] > 0
        ]
        # with anti-aliasing the background would show between neighbouring cells
        return "\n".join(['<g shape-rendering="crispEdges">', *paths, "</g>"])

    def constrain(self) -> None:
        """Clamp the levels to the range in which the sigmoid still has a gradient."""
        with torch.no_grad():
            for level in self.levels:
                level.clamp_(-LIMIT, LIMIT)

    def start_from(self, image: Tensor) -> None:
        """Set each cell to the mean colour of its opaque pixels; without alpha, all are opaque."""
        finest = self.levels[-1]
        with torch.no_grad():
            cells = self._means(image)
            if finest.shape[1] == 4 and cells.shape[1] == 3:
                cells = torch.cat([cells, torch.ones_like(cells[:, :1])], 1)
            for level in self.levels[:-1]:
                level.zero_()
            finest.copy_(torch.logit(cells[:, : finest.shape[1]], NEAREST) / SLOPE)

    def _means(self, image: Tensor) -> Tensor:
        """The mean of each cell `[1, C, rows, columns]`, with colours weighted by alpha."""
        if image.shape[1] == 3:
            return self._mean(image)
        colour, alpha = image[:, :3], image[:, 3:]
        weighted, opacity = self._mean(colour * alpha), self._mean(alpha)
        mean = torch.where(opacity > 1e-6, weighted / opacity.clamp(min=1e-6), self._mean(colour))
        return torch.cat([mean.clamp(0, 1), opacity], 1)

    def _mean(self, image: Tensor) -> Tensor:
        """The mean of each cell's pixels; a cell without pixels uses those at its grid position."""
        rows, columns = self.levels[-1].shape[-2:]
        means = F.interpolate(image, (rows, columns), mode="area")
        if self.map is None:
            return means
        flat = means.flatten(2)[0]
        counts = torch.bincount(self.map, minlength=rows * columns)
        sums = torch.zeros_like(flat).index_add_(1, self.map, image.flatten(2)[0])
        return torch.where(counts > 0, sums / counts.clamp(min=1), flat).view_as(means)

    def state_dict(self) -> dict[str, Tensor]:
        """The levels, coarsest first."""
        return {f"level{i}": level.detach().clone() for i, level in enumerate(self.levels)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set the levels; their shapes must be those of this grid."""
        with torch.no_grad():
            for i, level in enumerate(self.levels):
                level.copy_(state[f"level{i}"])

    def _snap(self, cells: Tensor) -> Tensor:
        """The nearest palette colour of each cell; straight-through (Bengio et al. 2013)."""
        rgb = cells[:, :3]
        distance = torch.cdist(rgb.detach().flatten(2).transpose(1, 2), self._colours)
        nearest = self._colours[distance.argmin(2)].transpose(1, 2).view_as(rgb)
        alpha = cells[:, 3:]  # 0 or 1, as in an indexed file
        opaque = (alpha > 0.5).to(alpha.dtype)
        return torch.cat([rgb + (nearest - rgb).detach(), alpha + (opaque - alpha).detach()], 1)


def _pyramid(rows: int, columns: int, coarsest: int) -> list[tuple[int, int]]:
    """Sizes of the levels: the grid, halved down to `coarsest` cells on the short side."""
    sizes = [(rows, columns)]
    while min(sizes[0]) / 2 >= coarsest:
        sizes.insert(0, (math.ceil(sizes[0][0] / 2), math.ceil(sizes[0][1] / 2)))
    return sizes
