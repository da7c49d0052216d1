"""Simple landscapes with their names, 64 px: a sunset over the sea, a starry night, mountains..."""

from __future__ import annotations

import numpy as np
from backdrops import SIDE, XX, YY, Rng, Scene, mix
from numpy.typing import NDArray
from PIL import Image, ImageDraw


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
