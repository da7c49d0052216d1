"""SVG: what the generator drew, as shapes instead of pixels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pixweave.media import atomic_write, svg

if TYPE_CHECKING:
    from pixweave.component import BuildContext
    from pixweave.events import Frame
    from pixweave_export.export_settings import Svg


class SvgFile:
    """Writes the shapes of the last frame when it is closed."""

    def __init__(self, settings: Svg, run: BuildContext) -> None:
        self.settings, self.run = settings, run
        self.path = run.folder / settings.file

    def write(self, frame: Frame) -> None:
        """Do nothing: the generator keeps the shapes that it drew last."""

    def close(self) -> list[Path]:
        """Write the shapes as an SVG file."""
        shapes = self.run.generator.svg()  # type: ignore[attr-defined]  # checked by validate
        text = svg.document(shapes, self.run.size, self.settings.scale, self.run.metadata)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write.write_whole(self.path, text)
        return [self.path]

    def abort(self) -> None:
        """Do nothing: no file was written."""
