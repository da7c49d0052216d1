"""Draw the input images of the recipes into recipes/pictures; original work, CC0.

python scripts/pictures.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

FOLDER = Path(__file__).parent.parent / "recipes" / "pictures"
SIDE = 192

GHOST = """
......oooo......
....ooWWWWoo....
...oWWWWWWWWo...
..oWWWWWWWWWWo..
..oWWkkWWkkWWo..
.oWWWkkWWkkWWWo.
.oWWWkkWWkkWWWo.
.oWWWWWWWWWWWWo.
.oWWpWWWWWWpWWo.
.oWWWWWkkWWWWWo.
.oWWWWWkkWWWWWo.
.oWWWWWWWWWWWWo.
.oWWWWWWWWWWWWo.
.oWWoWWooWWoWWo.
.oWo.oWooWo.oWo.
..o...o..o...o..
"""
INKS = {
    ".": (0, 0, 0, 0),
    "o": (93, 39, 93, 255),
    "W": (244, 244, 244, 255),
    "k": (26, 28, 44, 255),
    "p": (239, 125, 87, 255),
}


def valley() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return a valley with a lake `[S, S, 3]` and the mask of its sky `[S, S]`, both uint8."""
    y, x = (np.mgrid[0:SIDE, 0:SIDE] + 0.5) / SIDE
    picture = _blend((0.36, 0.62, 0.92), (0.80, 0.91, 0.98), y / 0.6)
    far = 0.50 - 0.10 * np.sin(5.1 * x + 0.4) - 0.05 * np.sin(12.7 * x + 2)
    near = 0.62 + 0.09 * np.cos(4.3 * x + 0.9) - 0.02 * np.sin(17 * x)
    rock = _blend((0.42, 0.48, 0.62), (0.62, 0.70, 0.74), (y - far) * 5)
    picture = _paint(picture, y > far, rock)
    snow = (y > far) & (y < far + 0.03 + 0.02 * np.sin(40 * x)) & (far < 0.45)
    picture = _paint(picture, snow, np.ones_like(picture))
    grass = _blend((0.25, 0.52, 0.24), (0.45, 0.66, 0.30), (y - near) * 3)
    picture = _paint(picture, y > near, grass)
    lake = ((x - 0.58) / 0.30) ** 2 + ((y - 0.86) / 0.075) ** 2 < 1
    picture = _paint(picture, lake, _blend((0.55, 0.75, 0.90), (0.25, 0.45, 0.70), (y - 0.8) * 8))
    sky = y <= np.minimum(far, near)
    return (picture * 255).round().astype(np.uint8), np.where(sky, 255, 0).astype(np.uint8)


def sprite() -> np.ndarray[Any, Any]:
    """Return a ghost sprite, uint8 RGBA `[16, 16, 4]`, in colours of Sweetie 16."""
    rows = GHOST.split()
    return np.array([[INKS[letter] for letter in row] for row in rows], dtype=np.uint8)


def _blend(top: Any, bottom: Any, share: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    share = share.clip(0, 1)[..., None]
    mixed: np.ndarray[Any, Any] = np.array(top) * (1 - share) + np.array(bottom) * share
    return mixed


def _paint(picture: Any, where: np.ndarray[Any, Any], colour: Any) -> np.ndarray[Any, Any]:
    painted: np.ndarray[Any, Any] = np.where(where[..., None], colour, picture)
    return painted


def draw(folder: Path = FOLDER) -> None:
    """Write all images to `folder` as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    land, sky = valley()
    Image.fromarray(land).save(folder / "valley.png", optimize=True)
    Image.fromarray(sky).convert("1").save(folder / "sky.png", optimize=True)
    Image.fromarray(sprite()).save(folder / "ghost.png", optimize=True)


if __name__ == "__main__":
    draw()
