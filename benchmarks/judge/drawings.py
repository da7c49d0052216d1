"""Training data of the judges: distance-field shapes, icon sets, landscapes, lumps and noise.

Shares nothing with ``training/``: different geometry, different icons, different backgrounds.
"""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE = 64  # drawn at 64 px; the network sees 48
Rng = np.random.Generator
Pixels = NDArray[np.float32]  # [64,64,3] RGB 0..1

# hue ranges in degrees, saturation, value: the judge's own definition of each colour
HUES: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "red": ((-12, 9), (0.72, 1), (0.68, 1)),
    "orange": ((20, 36), (0.8, 1), (0.85, 1)),
    "yellow": ((46, 61), (0.65, 1), (0.86, 1)),
    "green": ((88, 150), (0.5, 1), (0.42, 0.85)),
    "blue": ((205, 240), (0.6, 1), (0.5, 1)),
    "purple": ((262, 290), (0.45, 0.95), (0.45, 0.85)),
    "pink": ((318, 345), (0.3, 0.6), (0.9, 1)),
    "brown": ((15, 32), (0.5, 0.8), (0.3, 0.55)),
    "black": ((0, 360), (0, 0.3), (0, 0.14)),
    "white": ((0, 360), (0, 0.06), (0.92, 1)),
    "gray": ((0, 360), (0, 0.08), (0.4, 0.7)),
}
FORMS = ("heart", "circle", "square", "triangle", "star", "diamond")
OTHER_FORMS = ("ring", "plus", "hexagon", "crescent", "arrow", "bar")

ICONS: dict[str, tuple[str, ...]] = {  # label -> names in the icon sets
    "a green apple": ("green-apple",),
    "a strawberry": ("strawberry",),
    "a banana": ("banana",),
    "a lemon": ("lemon",),
    "a crescent moon": ("crescent-moon",),
    "a rainbow": ("rainbow",),
    "a cat face": ("cat-face",),
    "a dog face": ("dog-face",),
    "a sunflower": ("sunflower",),
    "a mushroom": ("mushroom",),
    "an evergreen tree": ("evergreen-tree",),
    "a house": ("house", "house-building", "house-with-garden"),
    "a car": ("automobile", "oncoming-automobile", "sport-utility-vehicle"),
    "a rocket": ("rocket",),
    "a sailboat": ("sailboat",),
    "a butterfly": ("butterfly",),
    "a fish": ("fish", "tropical-fish"),
    "a penguin": ("penguin",),
    "a smiling face": (
        "grinning-face",
        "grinning-face-with-big-eyes",
        "slightly-smiling-face",
        "smiling-face-with-smiling-eyes",
        "smiling-face",
        "smile-eyes",
        "small-smile",
    ),
}
OTHER_ICONS = """
    red-apple tangerine watermelon grapes cherries tomato rose tulip blossom
    deciduous-tree palm-tree cactus bear panda rabbit-face fox mouse-face frog
    pig-face lion tiger-face monkey-face chicken whale lady-beetle full-moon
    cloud snowflake fire droplet bus locomotive airplane bicycle balloon bird
    soccer-ball key bell light-bulb umbrella crown gem-stone ghost skull jack-o-lantern
    robot snowman birthday-cake hamburger doughnut angry-face crying-face neutral-face
    castle tent church peach pear carrot maple-leaf four-leaf-clover hibiscus sun
    hedgehog
""".split()  # noqa: SIM905

Y, X = ((np.mgrid[0:SIZE, 0:SIZE] + 0.5) / SIZE * 2 - 1).astype(np.float32)


def hsv(rng: Rng, colour: str) -> NDArray[np.float32]:
    """Return a random RGB value, 0..1, of the named colour."""
    hue, sat, val = (rng.uniform(*limits) for limits in HUES[colour])
    i = (np.array([5.0, 3.0, 1.0]) + hue / 60) % 6
    return (val - val * sat * np.clip(np.minimum(i, 4 - i), 0, 1)).astype(np.float32)


def distance(
    form: str, x: NDArray[np.float32], y: NDArray[np.float32], rng: Rng
) -> NDArray[np.float32]:
    """Return a signed distance-like field, negative inside, of a shape of about unit radius."""
    r = np.hypot(x, y)
    if form == "circle":
        return r - 0.92
    if form == "ring":
        return np.abs(r - 0.72) - rng.uniform(0.14, 0.24)
    if form == "square":
        return np.maximum(np.abs(x), np.abs(y)) - 0.82
    if form == "bar":
        return np.maximum(np.abs(x) - 0.95, np.abs(y) - rng.uniform(0.3, 0.5))
    if form == "diamond":
        return np.abs(x) / rng.uniform(0.65, 0.95) + np.abs(y) - 1
    if form == "triangle":
        k, up = rng.uniform(1.5, 2.0), y + 0.85
        return np.maximum(np.abs(x) * k - up, y - 0.72) * 0.6
    if form == "hexagon":
        return np.maximum(np.abs(x), np.abs(x) / 2 + np.abs(y) * 0.866) - 0.86
    if form == "plus":
        a = rng.uniform(0.24, 0.34)
        return np.minimum(
            np.maximum(np.abs(x) - a, np.abs(y) - 0.9), np.maximum(np.abs(y) - a, np.abs(x) - 0.9)
        )
    if form == "crescent":
        return np.maximum(r - 0.95, 0.75 - np.hypot(x - rng.uniform(0.35, 0.5), y))
    if form == "arrow":
        shaft = np.maximum(np.abs(y) - 0.22, np.maximum(-0.95 - x, x - 0.2))
        return np.minimum(shaft, np.maximum((np.abs(y) + x - 0.95) * 0.7, 0.05 - x))
    if form == "star":
        angle = np.arctan2(x, -y) % (2 * np.pi / 5)
        fold = np.abs(angle - np.pi / 5)
        edge, inner = rng.uniform(0.95, 1.05), rng.uniform(0.38, 0.55)
        # the side of a point runs from (edge, 36 degrees) to (inner, 0 degrees)
        px, py = r * np.cos(fold), r * np.sin(fold)
        tx, ty = edge * np.cos(np.pi / 5), edge * np.sin(np.pi / 5)
        nx, ny = ty, inner - tx
        return ((px - inner) * nx + py * ny) / np.hypot(nx, ny)
    assert form == "heart"
    up, wide = 0.15 - y * 1.2, np.abs(x) * rng.uniform(1.1, 1.25)  # (x2 + y2 - 1)^3 = x2 y3
    return (wide**2 + up**2 - 1 - wide ** (2 / 3) * up) * 0.4


def backdrop(rng: Rng, avoid: str) -> Pixels:
    """Return a background: usually plain white, else another colour, soft clouds or tiles."""
    colours = [name for name in HUES if name != avoid]
    roll = rng.random()
    base = hsv(rng, "white" if roll < 0.45 and avoid != "white" else str(rng.choice(colours)))
    ground = np.broadcast_to(base, (SIZE, SIZE, 3)).astype(np.float32).copy()
    if roll > 0.62:
        cells = int(rng.choice([2, 3, 4, 6, 10]))
        clouds = rng.random((cells, cells, 3))
        if avoid:
            clouds = clouds * 0.5 + base * 0.5
        image = Image.fromarray((clouds * 255).astype(np.uint8)).resize(
            (SIZE, SIZE),
            Image.Resampling.BICUBIC if rng.random() < 0.8 else Image.Resampling.NEAREST,
        )
        ground += (np.asarray(image, np.float32) / 255 - ground) * np.float32(rng.uniform(0.1, 0.7))
    return ground


def cover(
    ground: Pixels, field: NDArray[np.float32], paint: NDArray[np.float32], soft: float
) -> Pixels:
    """Paint ``paint`` where the field is negative, with an edge ``soft`` units wide."""
    amount = np.clip(0.5 - field / soft, 0, 1)[..., None]
    return ground * (1 - amount) + paint * amount


def shape(
    rng: Rng,
    form: str,
    colour: str,
    ground: Pixels,
    centre: tuple[float, float] = (0, 0),
    size: float = 1.0,
) -> Pixels:
    """Draw one shape, bevelled, rimmed or plain, roughly at ``centre``, both -1..1."""
    radius, turn = rng.uniform(0.42, 0.92) * size, rng.normal(0, 0.1)
    cx, cy = rng.normal(0, 0.1 * size, 2) + centre
    squeeze = rng.uniform(0.88, 1.14)
    x = ((X - cx) * np.cos(turn) + (Y - cy) * np.sin(turn)) / radius * squeeze
    y = (-(X - cx) * np.sin(turn) + (Y - cy) * np.cos(turn)) / radius / squeeze
    wobble = coarse(rng, 6) * rng.uniform(0, 0.12) if rng.random() < 0.4 else 0
    field = distance(form, x, y, rng) + wobble
    paint = np.broadcast_to(hsv(rng, colour), (SIZE, SIZE, 3))
    if rng.random() < 0.35:
        light = 1 - 0.25 * (x * rng.normal() + y * rng.normal()) * (
            colour not in ("white", "black")
        )
        paint = np.clip(paint * light[..., None], 0, 1)
    soft = 0.05 if rng.random() < 0.6 else rng.uniform(0.05, 0.4)
    if rng.random() < 0.2:
        rim = hsv(rng, "black" if rng.random() < 0.5 else "white")
        ground = cover(ground, field - 0.1, rim, soft)
    return cover(ground, field, paint, soft)


def coarse(rng: Rng, cells: int) -> NDArray[np.float32]:
    """Return smooth noise [64,64] in -1..1."""
    small = Image.fromarray((rng.random((cells, cells)) * 255).astype(np.uint8))
    return np.asarray(small.resize((SIZE, SIZE), Image.Resampling.BICUBIC), np.float32) / 127.5 - 1


def lump(rng: Rng, ground: Pixels) -> Pixels:
    """Draw an amorphous patch of colour."""
    for _ in range(int(rng.integers(1, 4))):
        field = np.hypot(X - rng.normal(0, 0.3), Y - rng.normal(0, 0.3)) - rng.uniform(0.3, 0.7)
        field = field + coarse(rng, int(rng.integers(3, 7))) * rng.uniform(0.45, 0.9)
        ground = cover(ground, field, hsv(rng, str(rng.choice(list(HUES)))), rng.uniform(0.1, 0.8))
    return ground


def stripes(rng: Rng, first: str, second: str) -> Pixels:
    count, phase = rng.uniform(2, 7), rng.random()
    turn = float(rng.choice([0, np.pi / 2, np.pi / 4])) + rng.normal(0, 0.05)
    wave = (X * np.cos(turn) + Y * np.sin(turn)) * count / 2 + phase
    field = (np.abs(wave % 1 - 0.5) - 0.25).astype(np.float32) * 2
    paint = [np.broadcast_to(hsv(rng, name), (SIZE, SIZE, 3)) for name in (first, second)]
    return cover(paint[0].copy(), field, paint[1], rng.uniform(0.05, 0.4))


def sunset(rng: Rng) -> Pixels:
    line = rng.uniform(-0.1, 0.4)
    top = np.array([[0.3, 0.2, 0.5], [0.85, 0.35, 0.2], [0.25, 0.35, 0.65], [0.95, 0.55, 0.3]])[
        rng.integers(4)
    ]
    low = np.array([1.0, rng.uniform(0.55, 0.85), rng.uniform(0.2, 0.45)])
    mix = np.clip((Y + 1) / (line + 1), 0, 1)[..., None]
    sky = top * (1 - mix) + low * mix
    x, radius = rng.normal(0, 0.2), rng.uniform(0.15, 0.4)
    sky = cover(
        sky,
        np.hypot(X - x, Y - line + rng.uniform(-0.05, 0.4)) - radius,
        np.array([1, rng.uniform(0.75, 0.97), rng.uniform(0.3, 0.7)]),
        0.06,
    )
    water = np.array([0.12, 0.25, 0.5]) * rng.uniform(0.6, 1.5) * np.ones((SIZE, SIZE, 3))
    glitter = np.exp(-(((X - x) / rng.uniform(0.15, 0.5)) ** 2)) * (
        0.5 + 0.5 * np.sin(Y * rng.uniform(30, 60))
    )
    water = water + glitter[..., None] * np.array([0.8, 0.5, 0.2]) * rng.uniform(0.2, 1)
    return np.where((line < Y)[..., None], water, sky).clip(0, 1)


def night(rng: Rng) -> Pixels:
    """Draw a dark sky with stars, sometimes with a moon, a glow, or land below."""
    deep = np.array([rng.uniform(0, 0.1), rng.uniform(0, 0.13), rng.uniform(0.1, 0.4)])
    glow = deep + np.array([rng.uniform(0, 0.3), rng.uniform(0, 0.2), rng.uniform(0.1, 0.4)])
    mix = np.clip((Y + 1) / 2, 0, 1)[..., None] ** rng.uniform(1, 4)
    picture = deep * (1 - mix) + glow * mix * rng.uniform(0.2, 1)
    for _ in range(int(rng.integers(8, 45))):
        x, y = rng.uniform(-1, 1, 2)
        star = np.hypot(X - x, Y - y) - rng.uniform(0.005, 0.05)
        picture = cover(picture, star, np.array([1, 1, rng.uniform(0.7, 1)]), 0.06)
    if rng.random() < 0.35:
        x, y, size = rng.uniform(-0.6, 0.6), rng.uniform(-0.7, 0), rng.uniform(0.1, 0.25)
        disc = np.hypot(X - x, Y - y) - size
        if rng.random() < 0.5:
            disc = np.maximum(disc, size * 0.9 - np.hypot(X - x - size * 0.5, Y - y))
        picture = cover(picture, disc, np.array([1, 0.97, 0.75]), 0.05)
    if rng.random() < 0.35:
        land = rng.uniform(0.4, 0.8) + coarse(rng, 5) * rng.uniform(0, 0.3) - Y
        picture = cover(picture, land, np.array([0.03, 0.06, 0.07]), 0.05)
    return picture.clip(0, 1)


def rainbow(rng: Rng) -> Pixels:
    """Draw a rainbow in front of a sky, a meadow or a plain background."""
    ground = backdrop(rng, "") if rng.random() < 0.4 else landscape(rng)[0]
    cx, cy = rng.normal(0, 0.15), rng.uniform(0.3, 1.1)
    radius, width = rng.uniform(0.8, 1.3), rng.uniform(0.3, 0.7)
    place = (radius - np.hypot(X - cx, Y - cy)) / width  # 0 outside .. 1 inside
    stops = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    colours = np.array(
        [
            [0.9, 0.1, 0.1],
            [1, 0.55, 0],
            [1, 0.9, 0.1],
            [0.15, 0.7, 0.2],
            [0.1, 0.4, 0.9],
            [0.5, 0.1, 0.7],
        ]
    )
    arc = np.stack([np.interp(place, stops, colours[:, channel]) for channel in range(3)], -1)
    inside = np.abs(place - 0.5) - 0.5
    if rng.random() < 0.5:
        inside = np.maximum(inside, (Y - cy) / width)
    return cover(ground, inside, arc, rng.uniform(0.1, 0.4))


def landscape(rng: Rng) -> tuple[Pixels, str]:
    """Return a scene other than the sunset over the sea and the night sky, with its label."""
    kind = str(rng.choice(["meadow", "day sea", "desert", "mountains"]))
    skies = {
        "mountains": (0.55, 0.75, 0.95),
        "meadow": (0.4, 0.7, 1),
        "day sea": (0.5, 0.75, 1),
        "desert": (0.45, 0.7, 1),
    }
    lands = {
        "mountains": (0.4, 0.42, 0.45),
        "meadow": (0.25, 0.65, 0.2),
        "day sea": (0.1, 0.4, 0.7),
        "desert": (0.9, 0.75, 0.4),
    }
    line = rng.uniform(-0.2, 0.5)
    sky, land = (np.array(table[kind]) * rng.uniform(0.8, 1.15) for table in (skies, lands))
    edge = np.full((SIZE, SIZE), line)
    if kind == "mountains":
        edge = line - 0.5 + np.abs(X * rng.uniform(1, 3) + rng.normal()) % 1 * rng.uniform(0.4, 1)
    picture = np.where((edge < Y)[..., None], land, sky * (1 - 0.2 * Y[..., None])).clip(0, 1)
    if rng.random() < 0.5:
        picture = cover(
            picture, np.hypot(X - rng.normal(0, 0.4), Y + 0.6) - 0.2, np.array([1, 0.95, 0.5]), 0.1
        )
    return picture, f"scene: {kind}"


def spellings(name: str) -> tuple[str, ...]:
    """Return the names that icon sets may use for an icon."""
    plain = name.replace("-", "")
    short = name.removesuffix("-face").replace("-", "")
    return name, plain, short, short + "face"


def rasterise(icons: dict[str, Any], key: str, side: int) -> Image.Image:
    """Return one icon of an iconify set as RGBA [side,side]; needs `rsvg-convert`."""
    body = icons["icons"][key]
    width = body.get("width", icons.get("width", 36))
    height = body.get("height", icons.get("height", width))
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="0 0 {width} {height}" width="{side}" height="{side}">{body["body"]}</svg>'
    )
    done = subprocess.run(["rsvg-convert"], input=svg.encode(), capture_output=True, check=True)
    return Image.open(io.BytesIO(done.stdout)).convert("RGBA")


class Icons:
    """Icons of several sets as RGBA; sets are iconify JSON files."""

    def __init__(self, files: list[Path], side: int = 96) -> None:
        self.found: dict[str, list[Image.Image]] = {}
        wanted = {name for names in ICONS.values() for name in names} | set(OTHER_ICONS)
        for file in files:
            icons = json.loads(file.read_text(encoding="utf-8"))
            for name in sorted(wanted):
                for key in spellings(name):
                    if key in icons["icons"]:
                        self.found.setdefault(name, []).append(rasterise(icons, key, side))
                        break

    def draw(
        self,
        rng: Rng,
        name: str,
        ground: Pixels,
        centre: tuple[float, float] = (0, 0),
        size: float = 1.0,
    ) -> Pixels:
        """Paste an icon of ``name``, slightly rotated and squeezed, near ``centre`` (-1..1)."""
        icon = self.found[name][int(rng.integers(len(self.found[name])))]
        if rng.random() < 0.5 and "moon" not in name:
            icon = icon.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        side = rng.uniform(34, 66) * size
        icon = icon.rotate(rng.normal(0, 6), Image.Resampling.BILINEAR)
        icon = icon.resize(
            (round(side * rng.uniform(0.88, 1.1)), round(side)), Image.Resampling.BOX
        )
        canvas = Image.fromarray((ground.clip(0, 1) * 255).astype(np.uint8))
        corner = [
            round((SIZE * (1 + shift) - extent) / 2 + rng.normal(0, 3 * size))
            for shift, extent in zip(centre, icon.size, strict=True)
        ]
        canvas.paste(icon, (corner[0], corner[1]), icon)
        return np.asarray(canvas, np.float32) / 255
