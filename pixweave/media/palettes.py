"""Palettes: named sets, lists of colours, .gpl and .hex files, or the colours of an image."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from pixweave.errors import did_you_mean, nearest_name
from pixweave.media.endings import file_schema

Rgb = tuple[int, int, int]

_HEX = {
    "1bit": "000000 ffffff",
    "gameboy": "0f380f 306230 8bac0f 9bbc0f",
    "grey-4": "000000 555555 aaaaaa ffffff",
    "grey-8": "000000 242424 494949 6d6d6d 929292 b6b6b6 dbdbdb ffffff",
    "cga": "000000 55ffff ff55ff ffffff",
    "cga-16": "000000 0000aa 00aa00 00aaaa aa0000 aa00aa aa5500 aaaaaa "
    "555555 5555ff 55ff55 55ffff ff5555 ff55ff ffff55 ffffff",
    "zx-spectrum": "000000 0000d7 d70000 d700d7 00d700 00d7d7 d7d700 d7d7d7 "
    "0000ff ff0000 ff00ff 00ff00 00ffff ffff00 ffffff",
    "c64": "000000 ffffff 880000 aaffee cc44cc 00cc55 0000aa eeee77 "
    "dd8855 664400 ff7777 333333 777777 aaff66 0088ff bbbbbb",
    "pico-8": "000000 1d2b53 7e2553 008751 ab5236 5f574f c2c3c7 fff1e8 "
    "ff004d ffa300 ffec27 00e436 29adff 83769c ff77a8 ffccaa",
    "sweetie-16": "1a1c2c 5d275d b13e53 ef7d57 ffcd75 a7f070 38b764 257179 "
    "29366f 3b5dc9 41a6f6 73eff7 f4f4f4 94b0c2 566c86 333c57",
    "db16": "140c1c 442434 30346d 4e4a4e 854c30 346524 d04648 757161 "
    "597dce d27d2c 8595a1 6daa2c d2aa99 6dc2cb dad45e deeed6",
}
SETS: dict[str, tuple[Rgb, ...]] = {
    name: tuple((int(c[:2], 16), int(c[2:4], 16), int(c[4:], 16)) for c in text.split())
    for name, text in _HEX.items()
}
"""The named palettes, 8 bits per channel."""

_FILES = (".gpl", ".hex", ".png", ".gif", ".jpg", ".jpeg", ".webp", ".bmp")
MOST = 256


def colour(text: str) -> Rgb:
    """The colour (r, g, b), 0..255, of `#rgb`, `#rrggbb`, `rrggbb` or a CSS name.

    Raises ValueError if the text is not a colour.
    """
    if re.fullmatch(r"[0-9a-fA-F]{6}", text):
        text = f"#{text}"
    from PIL import ImageColor

    try:
        channels = ImageColor.getrgb(text)
    except ValueError:
        name = nearest_name(text.lower(), ImageColor.colormap)
        near = f"; did you mean '{name}'?" if name else ""
        raise ValueError(
            f"'{text}' is not a valid colour; write '#rrggbb', '#rgb' or a CSS name{near}"
        ) from None
    return channels[0], channels[1], channels[2]


def read_palette(written: Any) -> tuple[Rgb, ...]:
    """The colours of a named set, a file or a list, as written in a recipe.

    Raises ValueError if it is not a palette of 2 to 256 colours.
    """
    if isinstance(written, str):
        path = _path(written)
        if path is not None:
            return _from_file(path)
        if written in SETS:
            return SETS[written]
        raise ValueError(
            f"palette '{written}' is not known; {did_you_mean(written, SETS)}; "
            f"or name a file that ends in {', '.join(_FILES)}, or list colours"
        )
    if not isinstance(written, Sequence):
        raise ValueError("a palette is a name, a file or a list of colours")
    colours = tuple(_one(c) for c in written)
    return _checked(colours, "the list")


def _one(written: Any) -> Rgb:
    if isinstance(written, str):
        return colour(written)
    if isinstance(written, Sequence) and len(written) == 3:
        r, g, b = written
        if all(isinstance(c, int) and 0 <= c <= 255 for c in (r, g, b)):
            return r, g, b
    raise ValueError(
        f"{written!r} is not a valid colour; "
        "write '#rrggbb' in quotes, a CSS name or [r, g, b] in 0..255"
    )


def _path(written: str) -> Path | None:
    if not written.lower().endswith(_FILES):
        return None
    path = Path(getattr(written, "folder", ".")) / Path(written).expanduser()
    if not path.is_file():
        raise ValueError(f"palette file '{written}' not found")
    return path


def _from_file(path: Path) -> tuple[Rgb, ...]:
    if path.suffix.lower() == ".gpl":
        rows = path.read_text("utf-8", "replace").splitlines()
        if not rows or not rows[0].startswith("GIMP Palette"):
            raise ValueError(f"'{path.name}' does not start with 'GIMP Palette'")
        matches = [re.match(r"\s*(\d+)\s+(\d+)\s+(\d+)", row) for row in rows[1:]]
        colours = [(int(m[1]), int(m[2]), int(m[3])) for m in matches if m]
        if any(max(c) > 255 for c in colours):
            raise ValueError(f"'{path.name}' has a value over 255")
    elif path.suffix.lower() == ".hex":
        words = path.read_text("utf-8", "replace").split()
        colours = [colour(word.lstrip("#")) for word in words]
    else:
        colours = _from_image(path)
    return _checked(tuple(colours), f"'{path.name}'")


def _from_image(path: Path) -> list[Rgb]:
    """The colours of an image if there are at most 256, else 16 by median cut."""
    from PIL import Image

    try:
        image = Image.open(path).convert("RGB")
    except OSError as error:
        raise ValueError(f"'{path.name}' is not a readable image ({error})") from None
    counts = image.getcolors(MOST)
    if counts is None:
        image = image.quantize(16, Image.Quantize.MEDIANCUT).convert("RGB")
        counts = image.getcolors(MOST)
    assert counts is not None
    return sorted((c for _, c in counts if isinstance(c, tuple)), key=sum)  # type: ignore[misc]


def _checked(colours: tuple[Rgb, ...], source: str) -> tuple[Rgb, ...]:
    unique = tuple(dict.fromkeys(colours))
    if not 2 <= len(unique) <= MOST:
        raise ValueError(f"a palette has 2 to {MOST} different colours; {source} has {len(unique)}")
    return unique


_COLOUR = {
    "anyOf": [
        {
            "type": "string",
            "pattern": r"^(#[0-9a-fA-F]{3,4}|#?[0-9a-fA-F]{6}|#[0-9a-fA-F]{8}|[A-Za-z]+|"
            r"(rgb|hs[lvb])a?\s*\(.*\))$",
            "patternErrorMessage": "must be '#rrggbb' in quotes, '#rgb', a CSS name or [r, g, b]",
            "examples": ["#ff8800", "gold"],
        },
        {
            "type": "array",
            "items": {"type": "integer", "minimum": 0, "maximum": 255},
            "minItems": 3,
            "maxItems": 3,
        },
    ],
}
Colour = Annotated[
    Rgb, BeforeValidator(_one), WithJsonSchema({"x-type": "colour", "title": "colour", **_COLOUR})
]
"""Type of a setting that takes one colour; its value is (r, g, b) in 0..255."""

Palette = Annotated[
    tuple[Rgb, ...],
    BeforeValidator(read_palette),
    WithJsonSchema(
        {
            "x-type": "palette",
            "title": "palette",
            "anyOf": [
                {"enum": sorted(SETS)},
                file_schema(_FILES),
                {"type": "array", "minItems": 2, "maxItems": MOST, "items": _COLOUR},
            ],
        }
    ),
]
"""Type of a setting that takes a palette; its value is a tuple of (r, g, b) in 0..255."""
