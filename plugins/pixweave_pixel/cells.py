"""Which cell each pixel of a picture belongs to, for cells that are no squares."""

from __future__ import annotations

import torch
from torch import Tensor


def cell_map(shape: str, columns: int, rows: int, size: tuple[int, int]) -> Tensor:
    """Cell index `row * columns + column` of every pixel, int64 `[height * width]`.

    Every second row is shifted by half a cell. A pixel belongs to the nearest centre: by Euclidean
    distance in the lattice of regular hexagons, or by taxicab distance for diamonds. Cells at the
    border are cut by the picture, so that it is filled to its edges.
    """
    width, height = size
    pitch_x, pitch_y = width / max(columns - 0.5, 0.5), height / max(rows - 1, 0.5)
    x = ((torch.arange(width, dtype=torch.float64) + 0.5) / pitch_x).expand(height, width)
    y = ((torch.arange(height, dtype=torch.float64) + 0.5) / pitch_y)[:, None].expand(height, width)
    best = torch.full((height, width), float("inf"), dtype=torch.float64)
    index = torch.zeros(height, width, dtype=torch.int64)
    near_row = y.round()
    for step_row in (-1, 0, 1):
        row = (near_row + step_row).clamp(0, rows - 1)
        shift = (row % 2) * 0.5
        for step_column in (-1, 0, 1):
            column = ((x - shift).round() + step_column).clamp(0, columns - 1)
            across, down = (column + shift - x).abs(), (row - y).abs()
            # rows of hexagons lie sqrt(3)/2 apart
            hexagonal = shape == "hex"
            distance = across**2 + 0.75 * down**2 if hexagonal else 2 * across + down
            nearer = distance < best
            best = torch.where(nearer, distance, best)
            index = torch.where(nearer, (row * columns + column).long(), index)
    return index.flatten()
