"""Show hits as a contact sheet, as an HTML page, or as images in a terminal."""

from __future__ import annotations

import base64
import functools
import html
import io
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pixweave.loading import DecodedImage, decode_image
from pixweave.media.atomic_write import whole
from pixweave.search.query import Hit

if TYPE_CHECKING:
    from PIL import Image

SIDE = 224
"""Side of a thumbnail in pixels."""

GAP, LINE = 8, 16
GROUND, INK = (24, 24, 24), (224, 224, 224)


def thumbnail(hit: Hit, side: int = SIDE) -> Image.Image:
    """The whole image, upright, centred in a square; a cross if it cannot be read."""
    from PIL import Image, ImageDraw

    from pixweave.loading import Preprocessing

    preprocessing = Preprocessing(side, "pad", background=GROUND, frames=max(1, hit.frame and 64))
    image = decode_image(hit.path, preprocessing)
    if isinstance(image, DecodedImage) and image.pixels is not None:
        frames = image.frames
        nearest = min(range(len(frames)), key=lambda i: abs(frames[i] - hit.frame))
        return Image.fromarray(image.pixels[nearest])
    empty = Image.new("RGB", (side, side), GROUND)
    pen = ImageDraw.Draw(empty)
    pen.line([(0, 0), (side, side)], fill=INK)
    pen.line([(0, side), (side, 0)], fill=INK)
    return empty


def draw_sheet(hits: Sequence[Hit], columns: int = 0) -> Image.Image:
    """One image of all hits in order, each with its score and its name."""
    from PIL import Image, ImageDraw

    columns = columns or min(5, max(1, math.ceil(math.sqrt(len(hits)))))
    rows = max(1, math.ceil(len(hits) / columns))
    wide, high = SIDE + GAP, SIDE + LINE + GAP
    sheet = Image.new("RGB", (columns * wide + GAP, rows * high + GAP), GROUND)
    pen = ImageDraw.Draw(sheet)
    for i, (hit, name) in enumerate(zip(hits, names(hits), strict=True)):
        left, top = GAP + i % columns * wide, GAP + i // columns * high
        sheet.paste(thumbnail(hit), (left, top))
        pen.text((left, top + SIDE + 2), _caption(hit, name, pen), fill=INK)
    return sheet


def write_sheet(hits: Sequence[Hit], path: Path, columns: int = 0) -> None:
    """Write the image of `draw_sheet` as a PNG, JPEG or WebP file."""
    sheet = draw_sheet(hits, columns)
    kind = {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}.get(path.suffix.lower(), "PNG")
    with whole(path) as part:
        sheet.save(part, kind)


def names(hits: Sequence[Hit]) -> list[str]:
    """The file name of each hit, with its folder if the name occurs more than once."""
    short = [os.path.basename(hit.path) for hit in hits]
    long = [os.path.join(*hit.path.rsplit(os.sep, 2)[-2:]) for hit in hits]
    counts = Counter(short)
    return [
        _printable(folder_and_name if counts[name] > 1 else name)
        for name, folder_and_name in zip(short, long, strict=True)
    ]


def _caption(hit: Hit, name: str, pen: Any) -> str:
    """`0.312 name.jpg`, shortened in the middle to the width of a thumbnail."""
    start = "" if hit.score is None else f"{hit.score:.3f} "
    whole_text = start + name
    while pen.textlength(whole_text) > SIDE and len(name) > 8:
        half = (len(name) - 2) // 2
        name = name[:half] + "…" + name[-half:]
        whole_text = start + name
    return whole_text


def write_page(hits: Sequence[Hit], path: Path, title: str) -> None:
    """Write one HTML file with embedded thumbnails, each a link to its image."""
    cells = "\n".join(map(_cell, hits, names(hits)))
    page = f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>
<meta name="viewport" content="width=device-width">
<style>
body {{ background: #181818; color: #e0e0e0; font: 14px sans-serif; margin: 1em }}
main {{ display: grid; gap: 8px; grid-template-columns: repeat(auto-fill, minmax({SIDE}px, 1fr)) }}
a {{ color: inherit; text-decoration: none; overflow-wrap: anywhere }}
img {{ display: block; width: {SIDE}px; height: {SIDE}px }}
</style>
<h1>{html.escape(title)}</h1>
<main>
{cells}
</main>
</html>
"""
    with whole(path) as part:
        part.write_text(page, "utf-8")


def _cell(hit: Hit, name: str) -> str:
    file = io.BytesIO()
    thumbnail(hit).save(file, "JPEG", quality=85)
    data = base64.standard_b64encode(file.getvalue()).decode()
    name = html.escape(name)
    score = "" if hit.score is None else f"{hit.score:.3f} "
    more = f" +{len(hit.like)}" if hit.like else ""
    link = "file://" + quote(os.fsencode(hit.path))
    return (
        f'<a href="{link}"><img src="data:image/jpeg;base64,{data}" alt="{name}">'
        f"{score}{name}{more}</a>"
    )


def in_terminal(hits: Sequence[Hit], kind: str, columns: int, rows: int = 10) -> Iterator[str]:
    """Each hit as text for a terminal of that kind (see `terminal_preview.supports`)."""
    import numpy as np

    from pixweave.media import terminal_preview

    draw = {"kitty": terminal_preview.kitty, "iterm": terminal_preview.iterm}.get(kind)
    wide = min(2 * rows, columns)
    for hit in hits:
        array = np.asarray(thumbnail(hit))
        if draw is None:
            yield "\n".join(terminal_preview.half_blocks(array, wide, rows))
        else:
            yield draw(terminal_preview.png(array), wide, rows)
        yield row(hit)


def row(hit: Hit) -> str:
    """`0.312  PATH`, followed by the number of near-duplicates."""
    score = "" if hit.score is None else f"{hit.score:.3f}  "
    return f"{score}{hit.path}" + (f"  (+{len(hit.like)} similar)" if hit.like else "")


@functools.cache
def _printable(name: str) -> str:
    """The name with bytes that are not UTF-8 as replacement characters."""
    return os.fsencode(name).decode("utf-8", "replace")
