"""SVG: what the generator drew, as shapes instead of pixels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pixweave.media import images, svg

if TYPE_CHECKING:
    from pixweave.engine.run import Run
    from pixweave.protocols import Frame
    from pixweave_export import Svg


class Drawing:
    """Writes the shapes of the last picture when it is closed."""

    def __init__(self, settings: Svg, run: Run) -> None:
        self.settings, self.run = settings, run
        self.path = run.folder / settings.file

    def write(self, frame: Frame) -> None:
        """Nothing: the generator knows what it drew last."""

    def close(self) -> list[Path]:
        """Write the shapes."""
        shapes = self.run.generator.svg()  # type: ignore[attr-defined]  # checked by validate
        text = svg.document(shapes, self.run.size, self.settings.scale, self.run.stamp)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        images.write_whole(self.path, text)
        return [self.path]

    def abort(self) -> None:
        """Nothing was written yet."""
