"""Stage `example`: keep the brightest images."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING

from pixweave import Component, Event, Field, hookimpl

if TYPE_CHECKING:
    from pixweave.pipeline.stage_runner import StageContext
    from pixweave.protocols import Stage

api = 1


class Example(Component):
    """Sort the images of the stage before by brightness, and pass on the first ones."""

    keep: int = Field(1, ge=1, description="number of images to pass on")

    def build(self, run: StageContext) -> Stage:
        """The stage: a generator function of the paths of the images."""
        from PIL import Image, ImageStat

        def brightest(pictures: Sequence[str]) -> Generator[Event, None, Sequence[str]]:
            brightness = {}
            for path in pictures:
                if run.stop():  # Ctrl-C
                    return list(pictures)
                with Image.open(path) as image:
                    brightness[path] = ImageStat.Stat(image.convert("L")).mean[0] / 255
            kept = sorted(brightness, key=lambda path: -brightness[path])[: self.keep]
            rows = [{"path": run.relative(path), "brightness": brightness[path]} for path in kept]
            run.save_table("brightness.csv", rows, ("path", "brightness"))
            yield Event("sorted", {"kept": rows})
            return kept

        return brightest


@hookimpl
def register_stages() -> dict[str, type[Component]]:
    """Register `example`."""
    return {"example": Example}
