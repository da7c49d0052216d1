"""Hits: the result of a search, a list that a notebook shows as a contact sheet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pixweave.search.contact_sheet import draw_sheet
from pixweave.search.query import Hit

if TYPE_CHECKING:
    from PIL import Image


class Hits(list[Hit]):
    """The hits of a search, in the order of the query; a notebook shows their images."""

    @property
    def pil(self) -> Image.Image:
        """A contact sheet: one Pillow image of all hits, each with its score and its name."""
        return draw_sheet(self)

    def _repr_png_(self) -> bytes | None:
        """The contact sheet as notebooks show it; None without hits."""
        from pixweave.media.images import png_bytes

        return png_bytes(self.pil) if self else None
