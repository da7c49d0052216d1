"""Curves through points: as cubic Bezier pieces, as straight segments, and as SVG paths."""

from __future__ import annotations

import torch
from torch import Tensor

from pixweave.media import svg

SEGMENTS = 9
"""Number of straight segments that approximate a Bezier piece."""


def beziers(points: Tensor, closed: bool) -> Tensor:
    """The smooth curve through points `[N, K, 2]` as cubic pieces `[N, K - 1 or K, 4, 2]`.

    At each point the curve runs parallel to the line between its neighbours (Catmull and Rom 1974).
    """
    if closed:
        after, before = points.roll(-1, 1), points.roll(1, 1)
        slope = (after - before) / 6
        return torch.stack([points, points + slope, after - slope.roll(-1, 1), after], 2)
    first, last = points[:, 1:2] - points[:, :1], points[:, -1:] - points[:, -2:-1]
    slope = torch.cat([first / 3, (points[:, 2:] - points[:, :-2]) / 6, last / 3], 1)
    start, end = points[:, :-1], points[:, 1:]
    return torch.stack([start, start + slope[:, :-1], end - slope[:, 1:], end], 2)


def segments(pieces: Tensor) -> tuple[Tensor, Tensor]:
    """Starts and ends `[N, S, 2]` of segments that approximate cubic pieces `[N, P, 4, 2]`."""
    t = torch.linspace(0, 1, SEGMENTS + 1, dtype=pieces.dtype, device=pieces.device)
    u = 1 - t
    basis = torch.stack([u**3, 3 * u**2 * t, 3 * u * t**2, t**3], 1)
    line = basis @ pieces
    return line[:, :, :-1].flatten(1, 2), line[:, :, 1:].flatten(1, 2)


def path(pieces: Tensor, closed: bool) -> str:
    """The `d` attribute of an SVG path along the pieces `[P, 4, 2]` of one curve."""
    rows = pieces.flatten(1).tolist()
    text = f"M{_numbers(rows[0][:2])}" + "".join(f"C{_numbers(row[2:])}" for row in rows)
    return text + "z" if closed else text


def _numbers(values: list[float]) -> str:
    return " ".join(svg.number(value) for value in values)
