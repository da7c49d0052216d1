"""Export: the base of exporters, for those who want `file`, whole files and the last frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pixweave.component import Component, Field
from pixweave.errors import Issue
from pixweave.media.atomic_write import whole

if TYPE_CHECKING:
    from pixweave.component import BuildContext, RecipeInfo
    from pixweave.events import Frame


class Export(Component):
    """Settings of an exporter that writes one file, or one folder, in the run folder.

    The shortest exporter sets `suffixes` and implements `save`, which writes the last frame:

        class Ppm(Export):
            \"\"\"The last frame as a PPM.\"\"\"

            suffixes: ClassVar[tuple[str, ...]] = (".ppm",)

            def save(self, frame, path, run):
                ...

    One that needs every frame overrides `build` instead, and writes in `writing(run)`. `file` is
    checked by the host: it is inside the run folder, and no other export or stage writes it.
    """

    suffixes: ClassVar[tuple[str, ...]] = ()
    also: ClassVar[tuple[str, ...]] = ()
    """Extensions that it can write too, but only in an entry with `use`."""

    file: str = Field(min_length=1, description="file name, relative to the run folder")

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """The file must have one of the extensions."""
        if not self.file.lower().endswith(self.suffixes + self.also):
            yield Issue(
                "file",
                f"'{self.file}' does not end in {' or '.join(self.suffixes)}",
                "change the ending, or leave out 'use'",
            )

    def build(self, run: BuildContext) -> Any:
        """The exporter: it keeps the last frame, and saves it when it is closed."""
        return LastFrame(self, run)

    def save(self, frame: Frame, path: Path, run: BuildContext) -> None:
        """Write a frame to `path`, a temporary file that then gets its name.

        `frame.image` is float32 `[B, 3 or 4, H, W]`, 0..1, after the filters; `run.metadata` is the
        stamp to embed, and `run.generator` may have a `palette`, see `pixweave.protocols`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no save(frame, path, run)")

    def path(self, run: BuildContext) -> Path:
        """Where the file will be."""
        return run.folder / self.file

    @contextmanager
    def writing(self, run: BuildContext) -> Iterator[Path]:
        """A temporary path to write to, renamed to the final one if no exception is raised."""
        path = self.path(run)
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as part:
            yield part


class LastFrame:
    """Keeps the last frame of a run, and saves it when it is closed."""

    def __init__(self, settings: Export, run: BuildContext) -> None:
        self._settings, self._run = settings, run
        self._last: Frame | None = None

    def write(self, frame: Frame) -> None:
        """Keep the frame."""
        self._last = frame

    def close(self) -> list[Path]:
        """Save the last frame."""
        if self._last is None:
            return []
        with self._settings.writing(self._run) as part:
            self._settings.save(self._last, part, self._run)
        return [self._settings.path(self._run)]

    def abort(self) -> None:
        """Do nothing: no file was written."""
