"""What lies behind things, and pictures without a thing: patterns, scenes, junk. 64 px each."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter
from words import COLOURS, JUNK

SIDE = 64
Rng = np.random.Generator
Pixels = NDArray[np.uint8]
Scene = tuple[Pixels, list[str], list[str]]  # pixels, names (the first is the main one), more facts

YY, XX = np.mgrid[0:SIDE, 0:SIDE] / SIDE


def choose(rng: Rng, easy: bool, avoid: str) -> tuple[Pixels, list[str]]:
    """Return a background [64,64,3] and its fact ("on white"), or no fact when it has no name."""
    roll = rng.random()
    others = [colour for colour in COLOURS if colour != avoid]
    if easy or roll < 0.6:
        colour = "white" if rng.random() < 0.5 and avoid != "white" else str(rng.choice(others))
        return flat(tint(rng, colour)), [f"on {colour}"]
    first, second = (tint(rng, str(name)) for name in rng.choice(others, 2, replace=False))
    if roll < 0.8:
        return blend(first, second, rng), []
    mask = PATTERNS[str(rng.choice(list(PATTERNS)))](rng)
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


PATTERNS: dict[str, Callable[[Rng], NDArray[np.float64]]] = {
    "vertical stripes": stripes("v"),
    "horizontal stripes": stripes("h"),
    "diagonal stripes": stripes("d"),
    "checkerboard": checks,
    "polka dots": dots,
    "concentric rings": rings,
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


def sky_and_ground(
    rng: Rng, top: list[int], low: list[int], ground: list[int], near: list[int], horizon: float
) -> Image.Image:
    """Return a picture with a shaded sky over shaded ground; colours RGB 0..255, horizon 0..1."""

    def jitter(colour: list[int]) -> NDArray[np.float64]:
        return np.array(colour) + rng.normal(0, 10, 3)

    sky = mix(jitter(top), jitter(low), YY / horizon)
    land = mix(jitter(ground), jitter(near), (YY - horizon) / (1 - horizon))
    return Image.fromarray(np.where((horizon < YY)[..., None], land, sky))


def scene(rng: Rng) -> Scene:
    """Return a simple landscape with its names."""
    return SCENES[int(rng.integers(len(SCENES)))](rng)


def disc(
    image: Image.Image, x: float, y: float, radius: float, colour: tuple[int, int, int]
) -> None:
    """Draw an anti-aliased disc; places and radius 0..1."""
    mask = Image.fromarray(
        (np.clip((radius - np.hypot(XX - x, YY - y)) * SIDE + 0.5, 0, 1) * 255).astype(np.uint8)
    )
    image.paste(colour, (0, 0), mask)


def sunset(rng: Rng) -> Scene:
    horizon = rng.uniform(0.5, 0.66)
    top = [[90, 50, 120], [230, 110, 50], [60, 60, 140], [200, 70, 60]][int(rng.integers(4))]
    image = sky_and_ground(rng, top, [252, 186, 80], [60, 80, 150], [22, 40, 96], horizon)
    x, radius = rng.uniform(0.35, 0.65), rng.uniform(0.1, 0.18)
    whole = image.copy()
    disc(
        whole, x, horizon - rng.uniform(-0.04, 0.12), radius, (255, int(rng.integers(190, 240)), 90)
    )
    image.paste(whole.crop((0, 0, SIDE, round(horizon * SIDE))), (0, 0))
    pen = ImageDraw.Draw(image)
    for row in range(round(horizon * SIDE) + 1, SIDE, 3):
        half = rng.uniform(0.3, 1.0) * radius * SIDE
        pen.line([(x * SIDE - half, row), (x * SIDE + half, row)], fill=(250, 170, 90))
    return (
        np.asarray(image),
        [
            "a sunset over the sea",
            "sunset over the sea",
            "sunset over the ocean",
            "the sun setting over the sea",
            "sunrise over the sea",
            "a sunset",
            "an orange evening sky over water",
        ],
        ["sunset"],
    )


def night(rng: Rng) -> Scene:
    image = Image.fromarray(mix(np.array([6, 8, 30.0]), np.array([30, 40, 90.0]), YY))
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(12, 40))):
        x, y = rng.integers(0, SIDE, 2)
        pen.rectangle(
            [x, y, x + int(rng.random() < 0.3), y + int(rng.random() < 0.3)], fill=(250, 250, 220)
        )
    names = ["a starry night sky", "the night sky", "stars at night", "a dark sky with stars"]
    if rng.random() < 0.6:
        x, y, radius = rng.uniform(0.25, 0.75), rng.uniform(0.2, 0.5), rng.uniform(0.1, 0.2)
        disc(image, x, y, radius, (250, 244, 200))
        names = [
            "the moon in the night sky",
            "the moon and stars",
            "night with a full moon",
            *names,
        ]
    return np.asarray(image), names, ["night"]


def mountains(rng: Rng) -> Scene:
    image = sky_and_ground(rng, [90, 160, 236], [190, 220, 246], [70, 150, 70], [40, 110, 50], 0.8)
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(2, 4))):
        x, height, half = rng.uniform(10, 54), rng.uniform(20, 38), rng.uniform(14, 26)
        gray = int(rng.integers(90, 140))
        pen.polygon(
            [(x - half, 52), (x, 52 - height), (x + half, 52)], fill=(gray, gray, gray + 12)
        )
        pen.polygon(
            [
                (x - half / 3, 52 - height * 2 / 3),
                (x, 52 - height),
                (x + half / 3, 52 - height * 2 / 3),
            ],
            fill=(246, 248, 252),
        )
    return (
        np.asarray(image),
        ["snowy mountains", "mountains", "mountain peaks under a blue sky", "a mountain landscape"],
        ["mountain"],
    )


def field_scene(rng: Rng) -> Scene:
    image = sky_and_ground(
        rng, [70, 140, 240], [170, 212, 250], [96, 180, 60], [40, 130, 40], rng.uniform(0.45, 0.65)
    )
    names = [
        "a green field under a blue sky",
        "green grass and blue sky",
        "a meadow",
        "a green meadow",
    ]
    if rng.random() < 0.4:
        disc(image, rng.uniform(0.15, 0.85), 0.2, rng.uniform(0.08, 0.13), (255, 224, 60))
        names = ["a sunny meadow", "the sun over a green field", *names]
    if rng.random() < 0.4:
        x, y = rng.uniform(0.2, 0.8), rng.uniform(0.15, 0.3)
        for shift, radius in ((-0.1, 0.07), (0, 0.1), (0.1, 0.07)):
            disc(image, x + shift, y, radius, (250, 250, 252))
    return np.asarray(image), names, ["field"]


def desert(rng: Rng) -> Scene:
    image = sky_and_ground(
        rng,
        [80, 150, 240],
        [210, 226, 246],
        [238, 200, 120],
        [214, 160, 80],
        rng.uniform(0.5, 0.65),
    )
    disc(image, rng.uniform(0.2, 0.8), 0.22, rng.uniform(0.08, 0.14), (255, 236, 120))
    return (
        np.asarray(image),
        ["a desert", "yellow sand under a blue sky", "a sandy desert", "the sun over the desert"],
        ["desert"],
    )


def sea(rng: Rng) -> Scene:
    image = sky_and_ground(
        rng, [100, 170, 246], [200, 226, 250], [40, 110, 190], [20, 70, 150], rng.uniform(0.4, 0.55)
    )
    names = ["the sea under a blue sky", "the ocean", "blue sea and sky", "a calm blue sea"]
    if rng.random() < 0.5:
        ImageDraw.Draw(image).rectangle([0, 52, SIDE, SIDE], fill=(240, 214, 150))
        names = ["a beach by the sea", "a sandy beach", *names]
    return np.asarray(image), names, ["sea"]


def snow(rng: Rng) -> Scene:
    image = sky_and_ground(
        rng,
        [120, 140, 170],
        [190, 200, 216],
        [244, 246, 250],
        [226, 232, 244],
        rng.uniform(0.5, 0.7),
    )
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(15, 45))):
        x, y = rng.integers(0, SIDE, 2)
        pen.rectangle([x, y, x + 1, y + 1], fill=(252, 252, 255))
    return (
        np.asarray(image),
        ["a snowy field", "snow falling", "a winter landscape", "snow"],
        ["snowy"],
    )


def forest(rng: Rng) -> Scene:
    image = sky_and_ground(rng, [150, 200, 240], [200, 226, 246], [60, 130, 60], [40, 90, 40], 0.72)
    pen = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(5, 10))):
        x, foot, height = rng.uniform(2, 62), rng.uniform(44, 58), rng.uniform(20, 34)
        green = int(rng.integers(70, 130))
        pen.rectangle([x - 1, foot - 4, x + 1, foot + 2], fill=(90, 60, 36))
        pen.polygon(
            [(x - 8, foot - 3), (x, foot - height), (x + 8, foot - 3)], fill=(20, green, 40)
        )
    return (
        np.asarray(image),
        ["a forest", "a green forest", "many trees", "a forest of fir trees"],
        ["woods"],
    )


def city(rng: Rng) -> Scene:
    image = sky_and_ground(rng, [20, 24, 70], [80, 60, 120], [20, 20, 30], [16, 16, 24], 0.85)
    pen = ImageDraw.Draw(image)
    x = 0
    while x < SIDE:
        width, top = int(rng.integers(7, 14)), int(rng.integers(16, 42))
        pen.rectangle([x, top, x + width - 2, SIDE], fill=(36, 38, 52))
        for wx in range(x + 1, x + width - 3, 3):
            for wy in range(top + 2, 58, 4):
                if rng.random() < 0.6:
                    pen.rectangle([wx, wy, wx + 1, wy + 1], fill=(252, 214, 110))
        x += width
    return (
        np.asarray(image),
        ["a city at night", "tall buildings at night", "a night skyline"],
        ["city"],
    )


def arch(rng: Rng) -> Scene:
    image = sky_and_ground(
        rng, [110, 170, 240], [190, 220, 250], [90, 170, 70], [50, 130, 50], 0.78
    )
    for step, colour in enumerate(
        (
            (230, 40, 40),
            (250, 150, 40),
            (250, 230, 60),
            (60, 180, 70),
            (50, 100, 220),
            (130, 60, 180),
        )
    ):
        radius = 0.46 - step * 0.045
        band = (np.abs(np.hypot(XX - 0.5, YY - 0.78) - radius) < 0.024) & (YY < 0.78)
        image.paste(colour, (0, 0), Image.fromarray((band * 255).astype(np.uint8)))
    return np.asarray(image), ["a rainbow over a green field", "a rainbow in the sky"], ["rainbow"]


SCENES = (
    sunset,
    sunset,
    night,
    mountains,
    field_scene,
    field_scene,
    desert,
    sea,
    snow,
    forest,
    city,
    arch,
)


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
