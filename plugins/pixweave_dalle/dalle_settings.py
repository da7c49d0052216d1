"""Trainer `dalle`: a transformer that composes the codes of a VQGAN after a text (DALL-E 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pixweave import Component, Field, Part, PartOf

if TYPE_CHECKING:
    from pixweave.component import BuildContext


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
    codec: Part = PartOf("codec", default="vqgan", description="what makes codes of pictures")
    wordless: float = Field(
        0.1, ge=0, le=1, description="share of pictures without their text, for guidance"
    )

    def build(self, run: Any) -> Any:
        """The live training."""
        from pixweave_dalle.dalle_training import DalleTraining

        return DalleTraining(self, run)


class DalleSampler(Component):
    """Draw pictures for the prompts at once and keep the one that a CLIP likes best (DALL-E 1).

    The embedded `tiny-dalle` writes the codes of a picture after a text, the codec decodes them.
    """

    candidates: int = Field(24, ge=1, le=1024, description="pictures that are drawn for each text")
    codec: Part = PartOf("codec", default="vqgan", description="what makes pictures of the codes")
    perceptor: Part = PartOf("perceptor", default="tiny", description="what chooses the best")

    def build(self, run: BuildContext) -> Any:
        """The sampler; see `pixweave_dalle.dalle_sampler`."""
        from pixweave_dalle.dalle_sampler import DallePictures

        return DallePictures(self, run)
