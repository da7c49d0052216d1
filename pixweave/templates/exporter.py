"""Exporter `example`: the last frame as a PPM, a format that needs no library."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pixweave import Component, Export, hookimpl

if TYPE_CHECKING:
    from pixweave import Frame
    from pixweave.component import BuildContext

api = 1


class Example(Export):
    """The last frame as a PPM (portable pixmap)."""

    suffixes: ClassVar[tuple[str, ...]] = (".ppm",)

    def save(self, frame: Frame, path: Path, run: BuildContext) -> None:
        """Write the images of the frame side by side to `path`, which then gets its name."""
        import torch

        image = torch.cat(list(frame.image[:, :3]), dim=2)  # [B, 3, H, W] -> [3, H, B * W]
        pixels = (image * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        height, width = pixels.shape[:2]
        path.write_bytes(f"P6 {width} {height} 255\n".encode() + pixels.tobytes())


@hookimpl
def register_exporters() -> dict[str, type[Component]]:
    """Register `example`."""
    return {"example": Example}
