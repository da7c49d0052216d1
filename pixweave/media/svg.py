"""SVG text: numbers, colours, and the document around a generator's elements."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence


def number(value: float) -> str:
    """A coordinate with up to three decimals, without trailing zeros."""
    text = f"{value:.3f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def colour(rgb: Sequence[float]) -> str:
    """`#rrggbb` of three channels in 0..1, rounded like pixels."""
    return "#" + "".join(f"{round(min(max(float(c), 0), 1) * 255):02x}" for c in rgb)


def opacity(name: str, value: float) -> str:
    """The attribute ` name="value"` with a leading space; '' if the value is opaque."""
    return "" if value > 0.9995 else f' {name}="{number(value)}"'


def document(body: str, size: tuple[int, int], scale: int, metadata: Mapping[str, str]) -> str:
    """An SVG file of elements in pixel coordinates, displayed at `scale`, with its metadata."""
    width, height = size
    notes = "".join(
        f'<metadata id="{html.escape(key)}">{html.escape(text)}</metadata>\n'
        for key, text in metadata.items()
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width * scale}" '
        f'height="{height * scale}" viewBox="0 0 {width} {height}">\n{notes}{body}\n</svg>\n'
    )
