"""Small doubles for tests: a perceptor that only sees colours, and recipes that run quickly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixweave.component import Component, Field
from pixweave.hookspecs import hookimpl
from pixweave.plugins import Plugins

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pixweave.engine.run import Run
    from pixweave.recipe import Recipe


class FakePerceptor(Component):
    """Encodes an image as its mean colour, and a text as the colour that it names."""

    side: int = Field(16, ge=4, description="side of its input images in pixels")

    def build(self, run: Run) -> Any:
        """The perceptor."""
        return _ColourPerceptor(self.side, run.device)


class _ColourPerceptor:
    def __init__(self, size: int, device: torch.device) -> None:
        self.size, self.device = size, device
        self.logit_scale = 20.0
        self.templates = ("{}",)
        self.bank = ["red", "green", "blue", "yellow", "black", "white"]
        self.encoded = 0

    def encode_image(self, crops: Tensor) -> Tensor:
        """Unit vectors `[N, 3]` in the direction from grey to the mean colour."""
        from torch.nn.functional import normalize

        self.encoded += len(crops)
        return normalize(crops.mean((2, 3)) - 0.5 + 1e-4, dim=-1)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors of the last colour that each text names, else derived from its bytes."""
        import torch
        from PIL import ImageColor
        from torch.nn.functional import normalize

        rows = []
        for text in texts:
            named = [word for word in text.lower().split() if word in ImageColor.colormap]
            code = sum(text.encode())
            rgb = (
                ImageColor.getrgb(named[-1])[:3] if named else [code * k % 255 for k in (3, 7, 11)]
            )
            rows.append([channel / 255 - 0.5 + 1e-4 for channel in rgb])
        return normalize(torch.tensor(rows, device=self.device), dim=-1)

    def overflow(self, text: str) -> str:
        """The words after the eighth, the size of its context."""
        return " ".join(text.split()[8:])


class FakePlugin:
    """A plugin with the perceptor `fake`."""

    name = "pixweave_fake"

    @staticmethod
    @hookimpl
    def register_perceptors() -> dict[str, type[Component]]:
        """Register `fake`."""
        return {"fake": FakePerceptor}


def plugins_of(*modules: Any, installed: bool = True) -> Plugins:
    """The installed plugins, the perceptor `fake`, and the given modules or objects with hooks."""
    plugins = Plugins.discover(entry_points=installed)
    plugins.add(FakePlugin, "pixweave_fake")
    for index, module in enumerate(modules):
        plugins.add(module, getattr(module, "__name__", f"plugin{index}"))
    return plugins


def tiny_recipe(plugins: Plugins | None = None, folder: Path | None = None, **keys: Any) -> Recipe:
    """A recipe that runs in milliseconds: 3 steps of 24x24 pixels, with the perceptor `fake`."""
    from pixweave.recipe import load_text

    body = {
        "pixweave": 1,
        "size": [24, 24],
        "steps": 3,
        "device": "cpu",
        "generator": {"use": "pixel", "grid": [12, 12]},
        "perceptors": ["fake"],
        "prompts": ["a red square"],
        "losses": [],
        "augmentations": [],
        "crops": {"count": 4},
        "export": [],
        **keys,
    }
    return load_text(json.dumps(body), "tiny.yaml", folder or Path(), plugins or plugins_of())
