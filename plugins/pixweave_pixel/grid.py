"""The live pixel grid: a pyramid of colours, a palette, and cells drawn by a gather."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from pixweave_pixel.cells import cell_map

if TYPE_CHECKING:
    from pixweave.run import Run
    from pixweave_pixel import Pixel


class PixelGrid:
    """Cells `[1, C, rows, columns]` shown as a picture `[1, C, H, W]`; C is 4 with alpha, else 3.

    The value of a cell is 0.5 plus the sum of all levels of the pyramid at its place (the
    multi-resolution parametrisation of feature visualisation: Mordvintsev et al. 2018).
    """

    def __init__(self, settings: Pixel, run: Run) -> None:
        self.size = run.size
        columns, rows = settings.cells(run.size)
        self.square = settings.cell == "square"
        self.map = None if self.square else cell_map(settings.cell, columns, rows, run.size)
        if self.map is not None:
            self.map = self.map.to(run.device)
        rng = run.rng("generator/start")
        self.levels = []
        for level_rows, level_columns in _pyramid(rows, columns, settings.coarsest):
            shape = (1, 4 if settings.alpha else 3, level_rows, level_columns)
            noise = torch.randn(shape, generator=rng) * settings.start
            self.levels.append(noise.to(run.device).requires_grad_())
        self.scales = [settings.detail**i for i in range(len(self.levels))]
        with torch.no_grad():
            if settings.alpha:
                self.levels[-1][:, 3] += 0.25  # begin mostly opaque: what is not seen cannot form
        self.palette: Tensor | None = None
        if settings.palette is not None:
            self.palette = torch.tensor(settings.palette, dtype=torch.uint8)
            self._colours = (self.palette.float() / 255).to(run.device)
        self.info = f"{columns}x{rows} {settings.cell} cells, {len(self.levels)} levels"

    def parameters(self) -> list[Tensor]:
        """One grid per level, coarsest first."""
        return self.levels

    def cells(self) -> Tensor:
        """The cells `[1, C, rows, columns]`, 0..1; palette colours if there is a palette."""
        finest = self.levels[-1]
        total = finest * self.scales[-1] + 0.5
        for level, scale in zip(self.levels[:-1], self.scales, strict=False):
            total = total + scale * F.interpolate(
                level, finest.shape[-2:], mode="bilinear", align_corners=False
            )
        total = _Clamp.apply(total)
        return total if self.palette is None else self._snap(total)

    def image(self) -> Tensor:
        """The picture, every pixel exactly the colour of its cell."""
        cells = self.cells()
        if self.map is None:
            side = self.size[0] // cells.shape[3]
            return cells.repeat_interleave(side, 2).repeat_interleave(side, 3)
        width, height = self.size
        return cells.flatten(2)[:, :, self.map].view(1, -1, height, width)

    def constrain(self) -> None:
        """Keep the sum of the levels from running away beyond black and white."""
        with torch.no_grad():
            for level in self.levels:
                level.clamp_(-1.0, 1.0)

    def start_from(self, image: Tensor) -> None:
        """Take each cell's mean colour; alpha becomes opaque where the image has none."""
        finest = self.levels[-1]
        with torch.no_grad():
            cells = F.interpolate(image, finest.shape[-2:], mode="area")
            if finest.shape[1] == 4 and cells.shape[1] == 3:
                cells = torch.cat([cells, torch.ones_like(cells[:, :1])], 1)
            for level in self.levels[:-1]:
                level.zero_()
            finest.copy_((cells[:, : finest.shape[1]] - 0.5) / self.scales[-1])

    def state_dict(self) -> dict[str, Tensor]:
        """The levels, coarsest first."""
        return {f"level{i}": level.detach().clone() for i, level in enumerate(self.levels)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set the levels; shapes must be those of this grid."""
        with torch.no_grad():
            for i, level in enumerate(self.levels):
                level.copy_(state[f"level{i}"])

    def _snap(self, cells: Tensor) -> Tensor:
        """The nearest palette colour of each cell; straight-through (Bengio et al. 2013)."""
        rgb = cells[:, :3]
        distance = torch.cdist(rgb.detach().flatten(2).transpose(1, 2), self._colours)
        nearest = self._colours[distance.argmin(2)].transpose(1, 2).view_as(rgb)
        return torch.cat([rgb + (nearest - rgb).detach(), cells[:, 3:]], 1)


class _Clamp(torch.autograd.Function):
    """Clamp to 0..1 that still lets a gradient lead back inside (Crowson's clamp_with_grad)."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        """Clamp, remembering what was outside."""
        ctx.save_for_backward(value)
        return value.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Stop gradients that would lead further out."""
        (value,) = ctx.saved_tensors
        return grad * (grad * (value - value.clamp(0, 1)) >= 0)


def _pyramid(rows: int, columns: int, coarsest: int) -> list[tuple[int, int]]:
    """Sizes of the levels: the grid and its halvings down to `coarsest` cells on the short side."""
    sizes = [(rows, columns)]
    while min(sizes[0]) / 2 >= coarsest:
        sizes.insert(0, (math.ceil(sizes[0][0] / 2), math.ceil(sizes[0][1] / 2)))
    return sizes
