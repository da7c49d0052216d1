"""Hits as a contact sheet, as an HTML page, and as pictures in a terminal."""

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
    """All of the picture, upright, in the middle of a square; a cross where it is gone."""
    from PIL import Image, ImageDraw

    from pixweave.loading import Preprocessing

    preprocessing = Preprocessing(side, "pad", background=GROUND, frames=max(1, hit.frame and 64))
    got = decode_image(hit.path, preprocessing)
    if isinstance(got, DecodedImage) and got.pixels is not None:
        at = min(range(len(got.frames)), key=lambda i: abs(got.frames[i] - hit.frame))
        return Image.fromarray(got.pixels[at])
    empty = Image.new("RGB", (side, side), GROUND)
    pen = ImageDraw.Draw(empty)
    pen.line([(0, 0), (side, side)], fill=INK)
    pen.line([(0, side), (side, 0)], fill=INK)
    return empty


def write_sheet(hits: Sequence[Hit], path: Path, columns: int = 0) -> None:
    """A picture of all hits, best first, each with its score and its name, in one go."""
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
    kind = {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}.get(path.suffix.lower(), "PNG")
    with whole(path) as part:
        sheet.save(part, kind)


def names(hits: Sequence[Hit]) -> list[str]:
    """What each is called: the name of its file, with the folder's where that is not enough."""
    bare = [os.path.basename(hit.path) for hit in hits]
    longer = [os.path.join(*hit.path.rsplit(os.sep, 2)[-2:]) for hit in hits]
    twice = Counter(bare)
    return [
        _shown(long if twice[name] > 1 else name) for name, long in zip(bare, longer, strict=True)
    ]


def _caption(hit: Hit, name: str, pen: Any) -> str:
    """`0.312 name.jpg`, cut in the middle to the width of a thumbnail."""
    start = "" if hit.score is None else f"{hit.score:.3f} "
    whole_text = start + name
    while pen.textlength(whole_text) > SIDE and len(name) > 8:
        half = (len(name) - 2) // 2
        name = name[:half] + "…" + name[-half:]
        whole_text = start + name
    return whole_text


def write_page(hits: Sequence[Hit], path: Path, title: str) -> None:
    """One HTML file with the pictures in it, each a link to its file."""
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
    """`0.312  PATH`, with the number of near-duplicates behind."""
    score = "" if hit.score is None else f"{hit.score:.3f}  "
    return f"{score}{hit.path}" + (f"  (+{len(hit.like)} like it)" if hit.like else "")


@functools.cache
def _shown(name: str) -> str:
    """A name that any encoding can hold: bytes that are no text as replacement signs."""
    return os.fsencode(name).decode("utf-8", "replace")
