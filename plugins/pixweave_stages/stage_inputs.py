"""The images that a stage works on: those of the previous stage, or those of its `input`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pixweave import MissingError

if TYPE_CHECKING:
    from pixweave.component import Part

INPUT = "images: files, folders or patterns (first stage only)"
"""Description of the setting `input` of stages."""


def take_images(part: Part, previous: Sequence[str], inputs: Sequence[str]) -> list[str]:
    """Paths of the previous stage's images, else of files, folders, patterns and indexes.

    Each path is listed once. Raises MissingError if there are none.
    """
    from pixweave.loading import find_images
    from pixweave.search import is_index
    from pixweave.search.index_store import open_index_store

    found = list(previous)
    for item in () if found else inputs:
        if is_index(item):
            with open_index_store(item) as store:
                found += store.readable()
        else:
            found += [image.path for image in find_images([item])]
    found = list(dict.fromkeys(found))
    if not found:
        raise no_images(part)
    return found


def no_images(part: Part) -> MissingError:
    """The error of a stage that has no images to work on."""
    return MissingError(f"{part.mark}: no images for stage '{part.use}'")
