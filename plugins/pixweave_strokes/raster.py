"""A differentiable rasteriser in plain torch: strokes and filled shapes to pixels.

The image is cut into tiles, and only pairs of a tile and a shape that touches it are processed. The
nearest segment of each pixel, and the nearest point on it, are found without gradients; autograd
then sees one distance for each pixel on an edge. The gradient is still exact, because at the
nearest point the distance does not depend on the position along the segment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

TILE = 8
REACH = 0.5 * 2**0.5 * (TILE - 1)
"""Distance from the middle of a tile to the centre of its farthest pixel."""
EDGE = 0.5 * 2**0.5
"""Maximum distance of an edge from the centre of a pixel that it can cut."""
CHUNK = 1_000_000
"""Distances computed at a time, so that they fit in the processor's cache."""


@dataclass(frozen=True)
class Shapes:
    """Shapes to draw, lowest first: segments `[N, S, 2]` in pixels, half widths `[N]`, colours
    `[N, C]` and opacities `[N]`. With `closed` the outlines are filled instead of stroked.
    """

    starts: Tensor
    ends: Tensor
    half: Tensor
    colours: Tensor
    opacity: Tensor
    closed: bool


def render(shapes: Shapes, paper: Tensor, size: tuple[int, int]) -> Tensor:
    """The shapes over a background colour `paper` `[C]`, as an image `[1, C, H, W]`.

    The coverage of a pixel is the part of its square inside the shape, exact for straight edges, as
    SVG renderers compute it.
    """
    width, height = size
    columns, rows = -(-width // TILE), -(-height // TILE)
    with torch.no_grad():
        shape, tile = _touching(shapes, columns, rows)
        order, layers, place = _stacking(tile, columns * rows)
        shape, tile = shape[order], tile[order]
    alpha = _coverage(shapes, shape, tile, columns) * shapes.opacity[shape, None]
    canvas = Over.apply(alpha, shapes.colours[shape], paper, layers, columns * rows)
    tiles = canvas[place].view(rows, columns, TILE, TILE, -1)
    picture = tiles.permute(4, 0, 2, 1, 3).reshape(1, -1, rows * TILE, columns * TILE)
    return picture[..., :height, :width]


def _middles(tile: Tensor, columns: int) -> Tensor:
    """The centres `[A, 2]` of tiles, in pixels."""
    corner = torch.stack([tile % columns, tile // columns], 1)
    return corner.float() * TILE + TILE / 2


def _touching(shapes: Shapes, columns: int, rows: int) -> tuple[Tensor, Tensor]:
    """Indices `[A]` of shapes and of the tiles that they touch, in the order of the shapes."""
    corners = torch.cat([shapes.starts, shapes.ends], 1)
    margin = shapes.half[:, None] + EDGE
    low, high = corners.amin(1) - margin, corners.amax(1) + margin
    x, y = (torch.arange(n, device=low.device) * TILE for n in (columns, rows))
    across = (low[:, :1] < x + TILE) & (high[:, :1] > x)
    down = (low[:, 1:] < y + TILE) & (high[:, 1:] > y)
    shape, row, column = (down[:, :, None] & across[:, None]).nonzero(as_tuple=True)
    tile = row * columns + column
    middle = torch.zeros(1, 2, device=low.device)
    distance, _, _, inside = _nearest(shapes, shape, tile, columns, middle)
    near = distance[:, 0] < shapes.half[shape] + EDGE + REACH
    keep = (near | inside[:, 0]).nonzero()[:, 0]
    return shape[keep], tile[keep]


def _stacking(tile: Tensor, count: int) -> tuple[Tensor, list[int], Tensor]:
    """Painting order of the pairs, number of tiles per layer, and position of each tile.

    Layer k contains the k-th shape of every tile that has one. Tiles with more layers come first,
    so that each layer is a slice from the first tile on.
    """
    depth = torch.bincount(tile, minlength=count)
    ranked = depth.argsort(descending=True, stable=True)
    place = torch.empty_like(ranked)
    place[ranked] = torch.arange(count, device=tile.device)
    by_tile = tile.argsort(stable=True)
    first = depth.cumsum(0) - depth
    layer = torch.empty_like(tile)
    layer[by_tile] = torch.arange(len(tile), device=tile.device) - first[tile[by_tile]]
    order = (layer * count + place[tile]).argsort()
    return order, torch.bincount(layer).tolist(), place


def _coverage(shapes: Shapes, shape: Tensor, tile: Tensor, columns: int) -> Tensor:
    """Coverage of each pixel, `[A, TILE * TILE]`, 0..1, with gradients at edges."""
    with torch.no_grad():
        steps = torch.arange(TILE, device=tile.device) + 0.5 - TILE / 2
        y, x = torch.meshgrid(steps, steps, indexing="ij")
        offsets = torch.stack([x.flatten(), y.flatten()], 1)
        distance, segment, along, inside = _nearest(shapes, shape, tile, columns, offsets)
        half = shapes.half[shape, None]
        depth = torch.where(inside, distance, -distance) if shapes.closed else half - distance
        inner = (depth >= EDGE).float()
        pair, pixel = (depth.abs() < EDGE).nonzero(as_tuple=True)
        here = _middles(tile[pair], columns) + offsets[pixel]
        along = along[pair, pixel][:, None]
        chosen = shape[pair] * shapes.starts.shape[1] + segment[pair, pixel]
    start = shapes.starts.flatten(0, 1).index_select(0, chosen)
    end = shapes.ends.flatten(0, 1).index_select(0, chosen)
    offset = here - start * (1 - along) - end * along
    distance = (offset.square().sum(1) + 1e-8).sqrt()
    with torch.no_grad():  # the normal of the edge: the offset or, on the segment, its normal
        line = (end - start).flip(1)
        across = torch.where(distance[:, None] > 0.01, offset, line)
        across = torch.nn.functional.normalize(across, dim=1).abs()
    if shapes.closed:
        share = _share(torch.where(inside[pair, pixel], distance, -distance), across)
    else:
        half = shapes.half.index_select(0, shape[pair])
        share = _share(half - distance, across) + _share(half + distance, across) - 1
    return inner.index_put((pair, pixel), share.clamp(0, 1))


def _share(depth: Tensor, across: Tensor) -> Tensor:
    """The part of a pixel's square on the inner side of an edge, 0..1, `[L]`.

    The edge is at distance `depth` `[L]` from the pixel's centre; `across` `[L, 2]` is its unit
    normal, of either sign. The projection of the square onto the normal is a trapezoid; this is its
    integral.
    """
    least, most = across.amin(1).clamp(min=1e-3), across.amax(1)
    left = (most + least) / 2 - depth.abs()
    corner = left.clamp(min=0).square() / (2 * least * most)
    outer = torch.where(left < least, corner, 0.5 - depth.abs() / most)
    return torch.where(depth > 0, 1 - outer, outer)


def _nearest(
    shapes: Shapes, shape: Tensor, tile: Tensor, columns: int, offsets: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Nearest segments of pixels at `offsets` `[Q, 2]` from the centre of each pair's tile.

    Returns, all `[A, Q]`: the distance to the nearest segment, its index, the position of the
    nearest point along it (0..1), and whether the pixel is inside (by the even-odd rule; False for
    strokes).
    """
    count = max(1, CHUNK // (len(offsets) * shapes.starts.shape[1]))
    parts = [
        _nearest_few(shapes, some, where, columns, offsets)
        for some, where in zip(shape.split(count), tile.split(count), strict=True)
    ]
    distance, segment, along, inside = (torch.cat(part) for part in zip(*parts, strict=True))
    return distance, segment, along, inside


def _nearest_few(
    shapes: Shapes, shape: Tensor, tile: Tensor, columns: int, offsets: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    middle = _middles(tile, columns)[:, None]
    start, end = shapes.starts[shape] - middle, shapes.ends[shape] - middle
    line = end - start
    length = line.square().sum(2, keepdim=True).clamp(min=1e-12)
    reached = line @ offsets.T - (start * line).sum(2, keepdim=True)
    along = (reached / length).clamp_(0, 1)
    squares = offsets.square().sum(1) - 2 * (start @ offsets.T)
    squares += start.square().sum(2, keepdim=True)
    squares -= along * (2 * reached - along * length)
    least, segment = squares.min(1)
    inside = torch.zeros_like(least, dtype=torch.bool)
    if shapes.closed:
        x, y = offsets.T
        crosses = (start[..., 1:] > y) != (end[..., 1:] > y)
        rise = torch.where(line[..., 1:].abs() < 1e-12, 1e-12, line[..., 1:])
        edge = start[..., :1] + (y - start[..., 1:]) * (line[..., :1] / rise)
        inside = (crosses & (x < edge)).sum(1) % 2 == 1
    position = along.gather(1, segment[:, None])[:, 0]
    return least.clamp(min=0).sqrt(), segment, position, inside


class Over(torch.autograd.Function):
    """Composite layer by layer (the over operator); backward goes from the top layer down."""

    @staticmethod
    def forward(
        ctx: Any, alpha: Tensor, colours: Tensor, paper: Tensor, layers: list[int], tiles: int
    ) -> Tensor:
        canvas = paper.expand(tiles, alpha.shape[1], len(paper)).clone()
        below, first = [], 0
        for count in layers:
            part = canvas[:count]
            below.append(part.clone())
            cover, colour = (
                alpha[first : first + count, :, None],
                colours[first : first + count, None],
            )
            part += cover * (colour - part)
            first += count
        ctx.layers = layers
        ctx.save_for_backward(alpha, colours, torch.cat(below) if below else canvas[:0])
        return canvas

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        alpha, colours, below = ctx.saved_tensors
        grad = grad.clone()
        to_alpha, to_colours = torch.empty_like(alpha), torch.empty_like(colours)
        last = len(alpha)
        for count in reversed(ctx.layers):
            rows, part = slice(last - count, last), grad[:count]
            to_alpha[rows] = (part * (colours[rows, None] - below[rows])).sum(2)
            weighed = part * alpha[rows, :, None]
            to_colours[rows] = weighed.sum(1)
            part -= weighed
            last -= count
        return to_alpha, to_colours, grad.sum((0, 1)), None, None
