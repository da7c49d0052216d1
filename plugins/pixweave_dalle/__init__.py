"""Trainer `dalle`: a transformer that composes the codes of a VQGAN after a text (DALL-E 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pixweave import Complaint, Component, Field, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pixweave.recipe import Recipe

SAMPLE = (
    "start from a picture that `tiny-dalle` samples for the prompts instead, and move it gently"
)
"""What the setting `sample` of a generator does; `check_sample`, `start.sampled` belong to it."""


class Dalle(Component):
    """Train a small DALL-E: one stream of text and picture tokens, the picture's are predicted.

    The picture tokens are the codes of the embedded VQGAN. Writes FILE (.safetensors, float16) with
    its config inside. The embedded `tiny-dalle`, from which `{use: vqgan}` starts, was made by it.
    """

    suffix: ClassVar[str] = ".safetensors"

    size: int = Field(64, ge=16, le=256, multiple_of=8, description="side of the pictures, px")
    steps: int = Field(8000, ge=1, description="updates; the learning rate falls until there")
    batch: int = Field(64, ge=1, description="pictures per update")
    lr: float = Field(2e-3, gt=0, description="highest learning rate (AdamW, cosine)")
    width: int = Field(160, ge=32, multiple_of=32, description="width of the transformer")
    layers: int = Field(5, ge=1, description="blocks of the transformer")
    text_width: int = Field(48, ge=8, description="width of the table of text tokens")
    text_length: int = Field(16, ge=4, le=77, description="text tokens that are read")
    wordless: float = Field(
        0.1, ge=0, le=1, description="share of pictures without their text, for guidance"
    )

    def build(self, run: Any) -> Any:
        """The live training."""
        from pixweave_dalle.dalle_training import DalleTraining

        return DalleTraining(self, run)


def wanted(recipe: Recipe) -> list[tuple[str, float]]:
    """The texts of a recipe's prompts with their weights at its start; empty if none is above 0.

    Also empty for a recipe that starts from a picture: what `first_picture` is to draw for it.
    """
    if recipe.start_from is not None:
        return []
    begin = recipe.moment(0)
    prompts = [part for part in recipe.losses if part.use == "prompt"]
    found = [(getattr(part.settings, "text", None), part.weight.at(begin)) for part in prompts]
    texts = [(text, weight) for text, weight in found if text]
    return texts if any(weight > 0 for _, weight in texts) else []


def check_sample(sample: bool, recipe: Recipe) -> Iterable[Complaint]:
    """A sample needs a prompt that is wanted, unless the recipe starts from a picture."""
    if sample and recipe.start_from is None and not wanted(recipe):
        yield Complaint(
            "sample", "there is no prompt to sample for", "add a prompt, or leave sample out"
        )


@hookimpl
def register_trainers() -> dict[str, type[Component]]:
    """Offer `dalle`."""
    return {"dalle": Dalle}
