"""Geometric outlines as polygons, drawn with Pillow on a supersampled canvas."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Points = NDArray[np.float64]


def outline(shape: str, rng: np.random.Generator) -> list[Points]:
    """Return the polygons of ``shape`` in the square -1..1, y down; a ring's second is its hole."""
    made = OUTLINES[shape](rng)
    return made if isinstance(made, list) else [made]


def draw_mask(
    shape: str,
    rng: np.random.Generator,
    side: int,
    centre: tuple[float, float],
    radius: float,
    turn: float,
) -> Image.Image:
    """Return an L mask of ``side`` px; ``centre`` 0..1, ``radius`` per side, ``turn`` in rad."""
    mask = Image.new("L", (side * 2, side * 2), 0)
    pen = ImageDraw.Draw(mask)
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    for index, points in enumerate(outline(shape, rng)):
        placed = (points @ spin.T * radius + np.array(centre)) * side * 2
        pen.polygon(
            [tuple(point) for point in placed], fill=0 if shape == "ring" and index else 255
        )
    return mask.resize((side, side), Image.Resampling.BOX)


def regular(corners: int, start: float = -np.pi / 2) -> Callable[[np.random.Generator], Points]:
    def make(rng: np.random.Generator) -> Points:
        angles = start + np.arange(corners) * 2 * np.pi / corners
        return np.stack([np.cos(angles), np.sin(angles)], axis=1)

    return make


def star(rng: np.random.Generator) -> Points:
    angles = -np.pi / 2 + np.arange(10) * np.pi / 5
    radii = np.where(np.arange(10) % 2 == 0, 1.0, rng.uniform(0.38, 0.52))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None] * 1.05


def heart(rng: np.random.Generator) -> Points:
    t = np.linspace(0, 2 * np.pi, 60)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x / 16.5, (-y - 2.5) / 15.0 * rng.uniform(0.92, 1.05)], axis=1)


def ellipse(width: float, height: float, x: float = 0, y: float = 0) -> Points:
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return np.stack([x + width * np.cos(t), y + height * np.sin(t)], axis=1)


def box(width: float, height: float) -> Points:
    return np.array([[-width, -height], [width, -height], [width, height], [-width, height]])


def crescent(rng: np.random.Generator) -> Points:
    t = np.linspace(np.pi * 0.32, np.pi * 1.68, 40)
    outer = np.stack([np.cos(t), np.sin(t)], axis=1)
    ends = outer[0], outer[-1]
    depth = rng.uniform(0.15, 0.45)
    inner_x = np.linspace(0, np.pi, 30)
    y = ends[1][1] + (ends[0][1] - ends[1][1]) * (1 - np.cos(inner_x)) / 2
    x = ends[0][0] - (ends[0][0] + depth) * np.sin(inner_x)
    return np.concatenate([outer, np.stack([x, y], axis=1)]) * 0.95 + np.array([0.15, 0])


def cross(rng: np.random.Generator) -> Points:
    a = rng.uniform(0.26, 0.38)
    return (
        np.array(
            [
                [-a, -1],
                [a, -1],
                [a, -a],
                [1, -a],
                [1, a],
                [a, a],
                [a, 1],
                [-a, 1],
                [-a, a],
                [-1, a],
                [-1, -a],
                [-a, -a],
            ]
        )
        * 0.95
    )


def tilted_cross(rng: np.random.Generator) -> Points:
    half = np.sqrt(0.5)
    return cross(rng) @ np.array([[half, -half], [half, half]])


def arrow(rng: np.random.Generator) -> Points:
    a = rng.uniform(0.18, 0.32)
    return np.array([[-1, -a], [0.1, -a], [0.1, -0.75], [1, 0], [0.1, 0.75], [0.1, a], [-1, a]])


def drop(rng: np.random.Generator) -> Points:
    t = np.linspace(-np.pi * 0.12, np.pi * 1.12, 36)
    round_part = np.stack([0.66 * np.cos(t), 0.34 + 0.66 * np.sin(t)], axis=1)
    return np.concatenate([round_part, [[-0.38, -0.3], [0, -1], [0.38, -0.3]]])


def cloud(rng: np.random.Generator) -> list[Points]:
    return [
        ellipse(0.45, 0.4, -0.5, 0.2),
        ellipse(0.5, 0.5, 0, -0.1),
        ellipse(0.42, 0.36, 0.52, 0.22),
        np.array([[-0.5, 0.1], [0.5, 0.1], [0.5, 0.58], [-0.5, 0.58]]),
    ]


def flower(rng: np.random.Generator) -> list[Points]:
    turns = -np.pi / 2 + np.arange(5) * 2 * np.pi / 5
    return [ellipse(0.42, 0.42, 0.56 * np.cos(t), 0.56 * np.sin(t)) for t in turns] + [
        ellipse(0.4, 0.4)
    ]


def half_circle(rng: np.random.Generator) -> Points:
    t = np.linspace(np.pi, 2 * np.pi, 40)
    return np.stack([np.cos(t), np.sin(t) + 0.45], axis=1)


OUTLINES: dict[str, Callable[[np.random.Generator], Points | list[Points]]] = {
    "heart": heart,
    "star": star,
    "circle": lambda rng: ellipse(0.95, 0.95),
    "square": lambda rng: box(0.85, 0.85),
    "triangle": lambda rng: np.add(regular(3)(rng), [0, 0.2]),
    "diamond": lambda rng: regular(4)(rng) * [rng.uniform(0.68, 1.0), 1.0],
    "pentagon": regular(5),
    "hexagon": regular(6),
    "octagon": regular(8, np.pi / 8),
    "crescent": crescent,
    "ring": lambda rng: [ellipse(0.95, 0.95), ellipse(*(2 * [rng.uniform(0.45, 0.68)]))],
    "plus": cross,
    "x mark": tilted_cross,
    "oval": lambda rng: ellipse(0.95, rng.uniform(0.5, 0.68)),
    "rectangle": lambda rng: box(0.98, rng.uniform(0.4, 0.6)),
    "arrow": arrow,
    "half circle": half_circle,
    "drop": drop,
    "cloud": cloud,
    "flower": flower,
}
