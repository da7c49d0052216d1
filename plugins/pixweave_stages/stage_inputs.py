"""The pictures that a stage works on: those of the stage before it, or those that it names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pixweave import MissingError

if TYPE_CHECKING:
    from pixweave.component import Part

INPUT = "pictures: files, folders, patterns; in a first stage"
"""What the setting `input` of a stage holds."""


def take_pictures(part: Part, pictures: Sequence[str], inputs: Sequence[str]) -> list[str]:
    """The pictures that came in, else those of files, folders, patterns and indexes, each once.

    MissingError if there are none.
    """
    from pixweave.loading import find_images
    from pixweave.search import is_index
    from pixweave.search.index_store import open_index_store

    found = list(pictures)
    for item in () if found else inputs:
        if is_index(item):
            with open_index_store(item) as store:
                found += store.readable()
        else:
            found += [image.path for image in find_images([item])]
    found = list(dict.fromkeys(found))
    if not found:
        raise no_pictures(part)
    return found


def no_pictures(part: Part) -> MissingError:
    """The error of a stage that has nothing to work on."""
    return MissingError(f"{part.mark}: there is no picture for stage '{part.use}'")
