"""Exporting: all exporters of a run, each isolated from the errors of the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pixweave.borders.guard import describe_error, full_name
from pixweave.engine.run import Run
from pixweave.errors import PartError, PixweaveError
from pixweave.events import Frame
from pixweave.protocols import Exporter


class Exports:
    """All exporters of a run; one that fails is dropped with its reason, the others continue."""

    def __init__(self, run: Run) -> None:
        self.failures: list[str] = []
        parts = run.recipe.exports
        self._open: dict[str, Exporter] = dict(
            zip((full_name(part) for part in parts), run.exporters(), strict=True)
        )
        self._frames = 0

    def write(self, frame: Frame) -> None:
        """Give every exporter a frame; PartError if the frame itself cannot be made."""
        self._frames += 1
        for name, exporter in list(self._open.items()):
            try:
                exporter.write(frame)
            except Exception as error:  # the other exports continue after any error
                if isinstance(error, PartError) and error.part != name:
                    raise  # a filter failed, which all exporters need
                self._drop(name, exporter, error)

    def close(self) -> list[Path]:
        """Finish the files of every exporter; the paths of those that could be finished."""
        paths: list[Path] = []
        for name, exporter in list(self._open.items()):
            try:
                paths += self._finish(exporter)
            except Exception as error:  # the other exports continue after any error
                self._drop(name, exporter, error)
        self._open = {}
        return paths

    def _finish(self, exporter: Exporter) -> Sequence[Path]:
        if self._frames:
            return exporter.close()
        exporter.abort()
        return []

    def _drop(self, name: str, exporter: Exporter, error: Exception) -> None:
        self._open.pop(name, None)
        self._fail(name, error)
        try:
            exporter.abort()
        except Exception as second:  # one that cannot clean up either
            self._fail(name, second)

    def _fail(self, name: str, error: Exception) -> None:
        known = isinstance(error, PixweaveError)
        text = str(error) if known else f"{name} raised {describe_error(error)}"
        if text not in self.failures:
            self.failures.append(text)
