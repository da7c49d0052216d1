"""The emoji: pictures from the Noto colour font, names and tags from emojibase-data."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from words import COLOURS, COMMON

SPRITE = 72  # px; larger than any use of it


@dataclass(frozen=True)
class Emoji:
    """One drawing: its names (the first is the label), its rarer tags, how often it is shown."""

    code: str
    names: tuple[str, ...]
    tags: tuple[str, ...]
    weight: float
    coloured_shape: tuple[str, str] | None  # ("red", "heart") when it is just that
    sprite: Image.Image  # RGBA, SPRITE x SPRITE


def load_emoji(font_file: Path, data_file: Path) -> list[Emoji]:
    """Return every distinct emoji of the font that has a name; flags and parts are left out."""
    font = ImageFont.truetype(str(font_file), 109)
    rows = [
        row
        for row in json.loads(data_file.read_text(encoding="utf-8"))
        if row.get("group") not in (None, 2, 9) and row["version"] <= 15
    ]
    tag_counts = Counter(tag for row in rows for tag in row.get("tags", ()))
    found: list[Emoji] = []
    seen: set[bytes] = set()
    for row in rows:
        sprite = _sprite(row["emoji"], font)
        key = sprite.tobytes()
        if "facing right" in row["label"] or key in seen or not np.asarray(sprite)[..., 3].any():
            continue
        seen.add(key)
        code = row["hexcode"].split("-FE0F")[0].split("-200D")[0]
        names = (
            row["label"].lower(),
            *(COMMON.get(code, ()) if "200D" not in row["hexcode"] else ()),
        )
        tags = tuple(
            tag for tag in row.get("tags", ()) if tag_counts[tag] <= 8 and tag not in names
        )
        common = len(names) > 1 or (code in COMMON and "200D" not in row["hexcode"])
        weight = 3.0 if common else 1.0
        found.append(
            Emoji(
                row["hexcode"],
                tuple(dict.fromkeys(names)),
                tags[:6],
                weight,
                _coloured_shape(row["label"]),
                sprite,
            )
        )
    return found


def _sprite(text: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    canvas = Image.new("RGBA", (136, 128), (0, 0, 0, 0))
    ImageDraw.Draw(canvas).text((0, 0), text, font=font, embedded_color=True)
    box = canvas.getbbox()
    if box is None:
        return Image.new("RGBA", (SPRITE, SPRITE))
    side = max(box[2] - box[0], box[3] - box[1])
    square = Image.new("RGBA", (side, side), (0, 0, 0, 0))
    square.paste(canvas.crop(box), ((side - box[2] + box[0]) // 2, (side - box[3] + box[1]) // 2))
    return square.resize((SPRITE, SPRITE), Image.Resampling.LANCZOS)


def _coloured_shape(label: str) -> tuple[str, str] | None:
    match = re.fullmatch(r"(?:large |medium |small )?([a-z]+) (heart|circle|square|diamond)", label)
    return (match[1], match[2]) if match and match[1] in COLOURS else None
