"""Settings of the sampler and trainer `dalle`: a transformer over VQGAN codes (DALL-E 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pixweave import Component, Field, Part, PartOf

if TYPE_CHECKING:
    from pixweave.component import BuildContext


class Dalle(Component):
    """Train a small DALL-E: a transformer that predicts image tokens from text tokens.

    The image tokens are the codes of the embedded VQGAN. Writes FILE (.safetensors, float16) with
    its config inside. The embedded `tiny-dalle`, from which `{use: vqgan}` starts, was trained
    with it.
    """

    suffix: ClassVar[str] = ".safetensors"

    size: int = Field(64, ge=16, le=256, multiple_of=8, description="side of the images in pixels")
    steps: int = Field(
        8000, ge=1, description="number of updates; the learning rate decays to the end"
    )
    batch: int = Field(64, ge=1, description="images per update")
    lr: float = Field(2e-3, gt=0, description="peak learning rate (AdamW, cosine decay)")
    width: int = Field(160, ge=32, multiple_of=32, description="width of the transformer")
    layers: int = Field(5, ge=1, description="number of transformer blocks")
    text_width: int = Field(48, ge=8, description="width of the text token embedding")
    text_length: int = Field(16, ge=4, le=77, description="number of text tokens read")
    codec: Part = PartOf("codec", default="vqgan", description="codec that encodes the images")
    wordless: float = Field(
        0.1,
        ge=0,
        le=1,
        description="share of images trained without their text (caption dropout), for guidance",
    )

    def build(self, run: Any) -> Any:
        """The training."""
        from pixweave_dalle.dalle_training import DalleTraining

        return DalleTraining(self, run)


class DalleSampler(Component):
    """Sample images for the prompts in one pass and keep the best by CLIP score (DALL-E 1).

    The embedded `tiny-dalle` predicts the codes of an image from a text; the codec decodes them.
    """

    candidates: int = Field(24, ge=1, le=1024, description="images sampled for each text")
    codec: Part = PartOf("codec", default="vqgan", description="codec that decodes the codes")
    perceptor: Part = PartOf(
        "perceptor", default="tiny", description="perceptor that picks the best image"
    )

    def build(self, run: BuildContext) -> Any:
        """The sampler; see `pixweave_dalle.dalle_sampler`."""
        from pixweave_dalle.dalle_sampler import DalleImageSampler

        return DalleImageSampler(self, run)
