"""What lies behind things, and pictures without a thing: patterns and junk. 64 px each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from words import COLOURS, JUNK, UNSEEN_PATTERNS

SIDE = 64
Rng = np.random.Generator
Pixels = NDArray[np.uint8]
Scene = tuple[Pixels, list[str], list[str]]  # pixels, names (the first is the main one), more facts

YY, XX = np.mgrid[0:SIDE, 0:SIDE] / SIDE


def choose(rng: Rng, easy: bool, avoid: str, held_out: bool = False) -> tuple[Pixels, list[str]]:
    """Return a background [64,64,3] and its fact ("on white"), or no fact when it has no name.

    ``held_out``: only of the patterns that are never behind a thing otherwise.
    """
    if held_out:
        pair = rng.choice([colour for colour in COLOURS if colour != avoid], 2, replace=False)
        low, high = (tint(rng, str(name)) for name in pair)
        return mix(low, high, PATTERNS[str(rng.choice(UNSEEN_PATTERNS))](rng)), []
    roll = rng.random()
    others = [colour for colour in COLOURS if colour != avoid]
    if roll < (0.65 if easy else 0.35):
        colour = "white" if rng.random() < 0.5 and avoid != "white" else str(rng.choice(others))
        return flat(tint(rng, colour)), [f"on {colour}"]
    first, second = (tint(rng, str(name)) for name in rng.choice(others, 2, replace=False))
    if rng.random() < 0.35:
        return blend(first, second, rng), []
    allowed = [name for name in PATTERNS if name not in UNSEEN_PATTERNS]
    mask = PATTERNS[str(rng.choice(allowed))](rng)
    return mix(first, second, mask), []


def tint(rng: Rng, colour: str) -> NDArray[np.float64]:
    spread = 3 if colour in ("white", "black") else 9
    return np.clip(np.array(COLOURS[colour][0]) + rng.normal(0, spread, 3), 0, 255)


def flat(colour: NDArray[np.float64]) -> Pixels:
    return np.broadcast_to(colour.astype(np.uint8), (SIDE, SIDE, 3)).copy()


def mix(
    first: NDArray[np.float64], second: NDArray[np.float64], mask: NDArray[np.float64]
) -> Pixels:
    """Blend two colours by a mask [64,64] of 0..1."""
    amount = np.clip(mask, 0, 1)[..., None]
    return np.clip(first * (1 - amount) + second * amount, 0, 255).astype(np.uint8)


def blend(first: NDArray[np.float64], second: NDArray[np.float64], rng: Rng) -> Pixels:
    turn = rng.uniform(0, 2 * np.pi)
    ramp = (XX - 0.5) * np.cos(turn) + (YY - 0.5) * np.sin(turn) + 0.5
    return mix(first, second, ramp)


def stripes(axis: str) -> Callable[[Rng], NDArray[np.float64]]:
    def make(rng: Rng) -> NDArray[np.float64]:
        along = {"v": XX, "h": YY, "d": (XX + YY) * 0.7}[axis]
        return ((along * rng.integers(2, 7) + rng.random()) % 1 < 0.5) * 1.0

    return make


def checks(rng: Rng) -> NDArray[np.float64]:
    count = int(rng.integers(2, 9))
    return ((np.floor(XX * count) + np.floor(YY * count)) % 2) * 1.0


def dots(rng: Rng) -> NDArray[np.float64]:
    count, radius = int(rng.integers(3, 7)), rng.uniform(0.24, 0.36)
    return (np.hypot((XX * count) % 1 - 0.5, (YY * count) % 1 - 0.5) < radius) * 1.0


def rings(rng: Rng) -> NDArray[np.float64]:
    return ((np.hypot(XX - 0.5, YY - 0.5) * rng.integers(4, 9) + rng.random()) % 1 < 0.5) * 1.0


def zigzag(rng: Rng) -> NDArray[np.float64]:
    count = int(rng.integers(3, 7))
    wave = np.abs((XX * count) % 1 - 0.5)
    return ((YY * count + wave) % 1 < 0.5) * 1.0


def waves(rng: Rng) -> NDArray[np.float64]:
    count, turns = int(rng.integers(3, 7)), rng.uniform(2, 4)
    return ((YY * count + 0.25 * np.sin(XX * turns * 2 * np.pi)) % 1 < 0.5) * 1.0


def plaid(rng: Rng) -> NDArray[np.float64]:
    count, width = rng.uniform(2, 5), rng.uniform(0.25, 0.45)
    return 0.5 * ((XX * count) % 1 < width) + 0.5 * ((YY * count) % 1 < width)


def lattice(rng: Rng) -> NDArray[np.float64]:
    count = int(rng.integers(3, 8))
    return (((XX * count) % 1 < 0.18) | ((YY * count) % 1 < 0.18)) * 1.0


def bricks(rng: Rng) -> NDArray[np.float64]:
    rows = int(rng.integers(4, 8))
    shifted = XX * rows / 2 + 0.5 * (np.floor(YY * rows) % 2)
    return (((YY * rows) % 1 < 0.15) | (shifted % 1 < 0.08)) * 1.0


def speckles(rng: Rng) -> NDArray[np.float64]:
    side = int(rng.choice([16, 22, 32]))
    coarse = (rng.random((side, side)) < 0.22).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BILINEAR)) * 1.0


def marble(rng: Rng) -> NDArray[np.float64]:
    side = int(rng.choice([4, 5, 7]))
    coarse = rng.random((side, side)).astype(np.float32)
    soft = np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return 0.5 + 0.5 * np.sin(soft * 14 + (XX + YY) * rng.uniform(-4, 4))


def grain(rng: Rng) -> NDArray[np.float64]:
    lines = np.repeat(rng.random((SIDE, 1)), SIDE, axis=1)
    bent = 0.5 + 0.5 * np.sin(YY * rng.uniform(20, 50) + 2 * np.sin(XX * rng.uniform(1, 4)))
    return 0.6 * bent + 0.4 * lines


PATTERNS: dict[str, Callable[[Rng], NDArray[np.float64]]] = {
    "vertical stripes": stripes("v"),
    "horizontal stripes": stripes("h"),
    "diagonal stripes": stripes("d"),
    "checkerboard": checks,
    "polka dots": dots,
    "concentric rings": rings,
    "zigzag": zigzag,
    "waves": waves,
    "plaid": plaid,
    "lattice": lattice,
    "brick wall": bricks,
    "speckles": speckles,
    "marble": marble,
    "wood grain": grain,
}


def pattern(rng: Rng) -> Scene:
    """Return a picture of two colours in a regular layout, of one colour, or a gradient."""
    a, b = (str(name) for name in rng.choice(list(COLOURS), 2, replace=False))
    first, second = tint(rng, a), tint(rng, b)
    roll = rng.random()
    if roll < 0.14:
        names = [
            f"plain {a}",
            f"a plain {a} picture",
            f"nothing but {a}",
            f"a {a} surface",
            f"all {a}",
        ]
        return flat(first), names, []
    if roll < 0.28:
        ramp, words = [(XX, "from left to right"), (YY, "from top to bottom")][int(rng.integers(2))]
        names = [
            f"a gradient from {a} to {b}",
            f"{a} fading to {b}",
            f"a gradient from {a} to {b} {words}",
        ]
        return mix(first, second, ramp), names, []
    if roll < 0.46:
        if rng.random() < 0.5:
            names = [
                f"{a} above {b}",
                f"the top half {a} and the bottom half {b}",
                f"{a} at the top and {b} at the bottom",
                f"half {a} and half {b}",
            ]
            return mix(first, second, (YY > 0.5) * 1.0), names, []
        names = [
            f"{a} on the left and {b} on the right",
            f"the left half {a} and the right half {b}",
            f"half {a} and half {b}",
        ]
        return mix(first, second, (XX > 0.5) * 1.0), names, []
    kind = str(rng.choice(list(PATTERNS)))
    names = [f"{a} and {b} {kind}", f"{kind} in {a} and {b}", f"{b} and {a} {kind}"]
    short = kind.split()[-1]
    if short == "stripes":
        names += [f"{a} and {b} stripes", f"{b} and {a} stripes"]
    if kind == "checkerboard":
        names += [f"a {a} and {b} checkerboard", f"a chessboard in {a} and {b}"]
    return mix(first, second, PATTERNS[kind](rng)), names, [kind, short]


def junk(rng: Rng, base: Pixels) -> tuple[Pixels, list[str]]:
    """Return a picture that shows nothing: noise, soft blobs, or ``base`` cut up and shuffled."""
    roll = rng.random()
    if roll < 0.4:
        side = int(rng.choice([3, 4, 6, 8, 16, 64]))
        coarse = Image.fromarray((rng.random((side, side, 3)) * 255).astype(np.uint8))
        method = Image.Resampling.NEAREST if rng.random() < 0.5 else Image.Resampling.BICUBIC
        return np.asarray(coarse.resize((SIDE, SIDE), method)), list(JUNK[:12])
    if roll < 0.75:
        step = int(rng.choice([4, 8, 16]))
        tiles = base.reshape(SIDE // step, step, SIDE // step, step, 3).swapaxes(1, 2)
        tiles = tiles.reshape(-1, step, step, 3)[rng.permutation((SIDE // step) ** 2)]
        count = SIDE // step
        pixels = tiles.reshape(count, count, step, step, 3).swapaxes(1, 2).reshape(SIDE, SIDE, 3)
        return pixels, [
            "a scrambled picture",
            "a broken picture",
            "a jumble of pieces",
            "a bad picture",
        ]
    soft = Image.fromarray(base).filter(ImageFilter.GaussianBlur(rng.uniform(9, 16)))
    return np.asarray(soft), [
        "a blurry blob",
        "a shapeless smear",
        "an abstract blur",
        "a bad picture",
    ]
