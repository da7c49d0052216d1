"""Written: a text that knows where in a recipe it was written."""

from __future__ import annotations

from pathlib import Path

from pixweave.errors import Mark


class Written(str):
    """A text of a recipe with its source location, and the folder for relative paths."""

    mark: Mark
    folder: Path

    @classmethod
    def make(cls, text: str, mark: Mark, folder: Path) -> Written:
        """The text with its source location."""
        written = cls(text)
        written.mark, written.folder = mark, folder
        return written

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)  # copies and pickles are plain texts
