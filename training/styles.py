"""Drawing styles: what is done to a finished picture, and the words for it. 64 px each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

Rng = np.random.Generator
Pixels = NDArray[np.uint8]


def pixel_art(rng: Rng, image: Image.Image) -> Image.Image:
    """Redraw on a grid of 12 to 24 cells."""
    cells = int(rng.integers(12, 25))
    small = image.resize((cells, cells), Image.Resampling.BOX)
    return small.resize(image.size, Image.Resampling.NEAREST)


def outline(rng: Rng, image: Image.Image) -> Image.Image:
    """Draw only the edges, dark lines on a pale ground."""
    soft = image.filter(ImageFilter.GaussianBlur(0.6))
    low, high = soft.filter(ImageFilter.MinFilter(3)), soft.filter(ImageFilter.MaxFilter(3))
    edges = np.asarray(ImageChops.difference(high, low), dtype=np.float32).max(2)
    ink = np.clip((edges - 25) / 70, 0, 1)[..., None]
    paper = 255 - rng.uniform(0, 25, 3)
    line = rng.uniform(0, 70, 3)
    return Image.fromarray((paper * (1 - ink) + line * ink).astype(np.uint8))


def watercolour(rng: Rng, image: Image.Image) -> Image.Image:
    """Run the colours together, darken the rims, let paper show through."""
    washed = image.filter(ImageFilter.ModeFilter(int(rng.choice([3, 5]))))
    washed = washed.filter(ImageFilter.GaussianBlur(rng.uniform(0.8, 1.6)))
    pixels = np.asarray(washed, dtype=np.float32)
    rim = np.abs(pixels - np.asarray(washed.filter(ImageFilter.GaussianBlur(2)), np.float32))
    cells = rng.random((9, 9)).astype(np.float32)
    grain = Image.fromarray(cells).resize(image.size, Image.Resampling.BICUBIC)
    wash = (np.asarray(grain)[..., None] - 0.3) * rng.uniform(0.2, 0.5)
    pixels = pixels * (1 - np.clip(wash, 0, 1)) + 250 * np.clip(wash, 0, 1) - rim.mean(2)[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def flat(rng: Rng, image: Image.Image) -> Image.Image:
    """Reduce to 3 to 6 plain colours."""
    count = int(rng.integers(3, 7))
    return image.quantize(count, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).convert("RGB")


def gray(rng: Rng, image: Image.Image) -> Image.Image:
    """Take the colours away."""
    return image.convert("L").convert("RGB")


STYLES: dict[str, tuple[Callable[[Rng, Image.Image], Image.Image], tuple[str, ...]]] = {
    "pixel art": (pixel_art, ("{n} made of big pixels", "blocky pixel art of {a}", "8-bit {n}")),
    "outline": (
        outline,
        ("an outline of {a}", "a line drawing of {a}", "{a}, only the lines", "{n} outline"),
    ),
    "watercolour": (
        watercolour,
        ("a watercolour of {a}", "a watercolour painting of {a}", "{a}, painted in watercolours"),
    ),
    "flat": (flat, ("{a} in a few flat colours", "{a}, flat design", "a flat icon of {a}")),
    "gray": (gray, ("a black and white picture of {a}", "{a} in shades of gray", "a gray {n}")),
}
SILHOUETTE = (
    "a silhouette of {a}",
    "the silhouette of {a}",
    "{n} silhouette",
    "the shadow of {a}",
    "{a} in {c} silhouette",
    "a {c} silhouette of {a}",
)
