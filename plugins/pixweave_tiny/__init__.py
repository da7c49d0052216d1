"""Perceptor `tiny`: the small CLIP that ships with pixweave; see MODEL_CARD.md beside this file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixweave import Complaint, Component, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from torch import Tensor

    from pixweave.recipe import Recipe
    from pixweave.run import Run

HERE = Path(__file__).parent


class Tiny(Component):
    """The embedded default: a CLIP of a few megabytes that knows emoji, shapes, colours and scenes.

    Trained by the project on pictures that it renders itself; needs no download. It guides colour,
    shape and layout well and detailed objects poorly; its card says how well, measured.
    """

    def check(self, recipe: Recipe) -> Iterable[Complaint]:
        """Its weights must be beside it."""
        if not (HERE / "tiny-clip.safetensors").is_file():
            yield Complaint(
                "use", "the weights of 'tiny' are not in this installation", "reinstall pixweave"
            )

    def build(self, run: Run) -> Any:
        """The live model on the run's device."""
        return _Live(run)


class _Live:
    """`tiny` as a perceptor."""

    def __init__(self, run: Run) -> None:
        from pixweave_tiny.model import load_tiny_clip

        self.model = load_tiny_clip().to(run.device)
        self.device = run.device
        self.size = self.model.image_size
        self.bank = (HERE / "bank.txt").read_text("utf-8").split("\n")[:-1]
        self.info = f"tiny CLIP, {self.size} px"

    def encode_image(self, crops: Tensor) -> Tensor:
        """Unit vectors of the crops; float32, since so small a model gains nothing from less."""
        return self.model.encode_image(crops)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors of the texts."""
        return self.model.encode_text(list(texts))

    def overflow(self, text: str) -> str:
        """The words that its context cannot hold."""
        return self.model.overflow(text)


@hookimpl
def register_perceptors() -> dict[str, type[Component]]:
    """Offer `tiny`."""
    return {"tiny": Tiny}
