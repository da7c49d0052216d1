"""The shapes of cells: which cell each pixel belongs to, and the outlines of the cells.

Both come from the same formulas, so that an image and its SVG agree. Coordinates below are in units
of the pitch, the distance between neighbouring cells, horizontally and vertically.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

Shape = Literal["square", "rect", "brick", "hex", "triangle", "diamond", "knit"]
SHAPES: tuple[Shape, ...] = get_args(Shape)

KNIT = 0.6
"""Depth of the V of a stitch, in rows."""


def pitch(shape: Shape, columns: int, rows: int, size: tuple[int, int]) -> tuple[float, float]:
    """The distance between neighbouring cells in pixels, horizontally and vertically.

    Chosen so that whole and clipped cells fill the image to its edges: rows shifted by half a cell
    are clipped on one side; hexagons, diamonds and triangles extend beyond the border.
    """
    across = {
        "brick": columns - 0.5,
        "hex": columns - 0.5,
        "diamond": columns - 0.5,
        "triangle": columns - 1,
    }.get(shape, columns)
    down = {"hex": rows - 1, "diamond": rows - 1, "knit": rows - KNIT}.get(shape, rows)
    return size[0] / max(across, 0.5), size[1] / max(down, 0.5)


def cell_map(shape: Shape, columns: int, rows: int, size: tuple[int, int]) -> Tensor:
    """Cell index `row * columns + column` of the centre of every pixel, int64 `[H * W]`."""
    width, height = size
    pitch_x, pitch_y = pitch(shape, columns, rows, size)
    x = ((torch.arange(width, dtype=torch.float64) + 0.5) / pitch_x).expand(height, width)
    y = ((torch.arange(height, dtype=torch.float64) + 0.5) / pitch_y)[:, None].expand(height, width)
    if shape in ("hex", "diamond"):
        column, row = _nearest(shape, columns, rows, x, y)
    elif shape == "brick":
        row = y.floor()
        column = (x + row % 2 / 2).floor()
    elif shape == "triangle":
        row = y.floor()
        column = x.floor()
        points_up = (column + row) % 2 == 0
        slant = torch.where(points_up, y - row, 1 - (y - row))
        column = column + (x - column > slant)
    elif shape == "knit":
        column = x.floor()
        row = (y + 2 * KNIT * (x - column - 0.5).abs()).floor()
    else:
        column, row = x.floor(), y.floor()
    index = row.clamp(0, rows - 1) * columns + column.clamp(0, columns - 1)
    return index.long().flatten()


def _nearest(shape: Shape, columns: int, rows: int, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Column and row of the nearest centre; every second row is shifted by half a cell.

    By Euclidean distance in the lattice of regular hexagons, by Manhattan distance for diamonds.
    """
    best = torch.full_like(x, float("inf"))
    found = torch.zeros_like(x), torch.zeros_like(x)
    for step_row in (-1, 0, 1):
        row = (y.round() + step_row).clamp(0, rows - 1)
        shift = (row % 2) * 0.5
        for step_column in (-1, 0, 1):
            column = ((x - shift).round() + step_column).clamp(0, columns - 1)
            across, down = (column + shift - x).abs(), (row - y).abs()
            # rows of hexagons are sqrt(3)/2 apart
            distance = across**2 + 0.75 * down**2 if shape == "hex" else 2 * across + down
            nearer = distance < best
            best = torch.where(nearer, distance, best)
            found = torch.where(nearer, column, found[0]), torch.where(nearer, row, found[1])
    return found


def outlines(shape: Shape, columns: int, rows: int, size: tuple[int, int]) -> Tensor:
    """Corners of every cell in pixels, float64 `[rows * columns, corners, 2]`."""
    row, column = torch.meshgrid(
        torch.arange(rows, dtype=torch.float64),
        torch.arange(columns, dtype=torch.float64),
        indexing="ij",
    )
    row, column = row.reshape(-1, 1), column.reshape(-1, 1)
    odd, third = row % 2, 1 / 3
    if shape == "hex":
        xs, ys = [0, 0.5, 0.5, 0, -0.5, -0.5], [-2, -1, 1, 2, 1, -1]
        x, y = column + odd / 2 + _line(xs), row + _line(ys) * third
    elif shape == "diamond":
        x, y = column + odd / 2 + _line([0, 0.5, 0, -0.5]), row + _line([-1, 0, 1, 0])
    elif shape == "triangle":
        points_up = (column + row) % 2 == 0
        up, down = _line([0, 1, 1]), _line([1, 0, 0])
        x, y = column + _line([0, 1, -1]), row + torch.where(points_up, up, down)
    elif shape == "knit":
        x = column + _line([0, 0.5, 1, 1, 0.5, 0])
        y = row + _line([-KNIT, 0, -KNIT, 1 - KNIT, 1, 1 - KNIT])
    else:
        shift = odd / 2 if shape == "brick" else 0
        x, y = column - shift + _line([0, 1, 1, 0]), row + _line([0, 0, 1, 1])
    corners = torch.stack([x, y.expand_as(x)], 2)
    return corners * torch.tensor(pitch(shape, columns, rows, size), dtype=torch.float64)


def _line(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)
