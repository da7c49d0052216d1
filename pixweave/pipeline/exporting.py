"""Exporting: all exporters of a run, each isolated from the errors of the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pixweave.engine.run import Run
from pixweave.events import Frame
from pixweave.protocols import Exporter


class Exports:
    """All exporters of a run; one that fails is dropped with its reason, the others continue."""

    def __init__(self, run: Run) -> None:
        self.failures: list[str] = []
        self._open: dict[str, Exporter] = dict(
            zip((part.id for part in run.recipe.exports), run.exporters(), strict=True)
        )
        self._frames = 0

    def write(self, frame: Frame) -> None:
        self._frames += 1
        for name, exporter in list(self._open.items()):
            try:
                exporter.write(frame)
            except Exception as error:  # the other exports continue after any error
                self._drop(name, exporter, error)

    def close(self) -> list[Path]:
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
        self.failures.append(f"export '{name}' failed: {type(error).__name__}: {error}")
        self._open.pop(name, None)
        exporter.abort()
