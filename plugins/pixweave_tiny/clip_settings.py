"""Settings of the perceptor `tiny` and of the trainer `clip`; see MODEL_CARD.md in this folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pixweave import Component, Field, Issue
from pixweave.recipe import InputFile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pixweave.component import BuildContext, RecipeInfo

HERE = Path(__file__).parent


class Tiny(Component):
    """The embedded default: a CLIP of a few megabytes that knows emoji, shapes, colours and scenes.

    Trained by this project on images that it renders itself; needs no download. Its model card has
    measurements of search, classification and guidance. With `weights` it runs your own CLIP,
    trained with `pixweave train clip`.
    """

    weights: InputFile | None = Field(
        None,
        description="a .safetensors file written by `pixweave train clip`; by default the embedded "
        "model",
    )

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """The weights must exist, and be those of a CLIP that this perceptor can run."""
        from pixweave_tiny.clip_files import find_issue

        issue = find_issue(self.weights)
        if issue:
            yield Issue("weights" if self.weights else "use", *issue)

    def identity(self) -> str:
        """The digest of the weights and of their config."""
        from pixweave_tiny.clip_files import digest

        return digest(self.weights)

    def build(self, run: BuildContext) -> Any:
        """The perceptor, on the run's device."""
        from pixweave_tiny.tiny_perceptor import TinyPerceptor

        return TinyPerceptor(self.weights, run)

    def reference(self) -> Any:
        """open_clip's build of the same weights, for the self-check of encoders."""
        from pixweave_tiny.open_clip_check import Reference

        return Reference(self.weights)


class Clip(Component):
    """Train a small CLIP on images with captions, for search, classification and guidance.

    Writes FILE (.safetensors, float16), its config FILE.json and the BPE merge list bpe.txt.gz,
    which both `{use: tiny, weights: FILE}` and open_clip read. The embedded `tiny` was trained with
    it.
    """

    suffix: ClassVar[str] = ".safetensors"

    size: int = Field(
        64, ge=32, le=512, description="side in pixels at which images are kept in memory"
    )
    image_size: int = Field(64, ge=32, le=512, description="input side of the model in pixels")
    early_size: int = Field(
        0,
        ge=0,
        le=512,
        description="smaller side in pixels for the early part of training (resnet only, a "
        "multiple of 32); 0: none",
    )
    early: float = Field(
        0.55, ge=0, le=1, description="length of the early part, as a share of the steps"
    )
    steps: int = Field(
        20_000, ge=1, description="number of updates; the learning rate decays to the end"
    )
    batch: int = Field(128, ge=2, description="images per update")
    lr: float = Field(1.5e-3, gt=0, description="peak learning rate (AdamW, cosine decay)")
    tower: Literal["resnet", "vit"] = Field(
        "resnet", description="image tower: CLIP's ResNet, or a vision transformer"
    )
    scale: float = Field(
        40.0, ge=1, le=100, description="maximum factor on the cosines (logit scale)"
    )
    names: float = Field(
        1.0, ge=0, description="weight of the loss against the bank of all names in the data"
    )
    fresh: int = Field(
        128, ge=1, description="names of the bank encoded with gradient in each update"
    )
    mosaic: float = Field(
        0.15, ge=0, le=1, description="share of images redrawn on a coarse pixel grid"
    )
    spoil: float = Field(
        0.25, ge=0, le=1, description="share of images corrupted to look like unfinished results"
    )
    gradient: float = Field(
        0.0,
        ge=0,
        description="weight of the gradient alignment loss on corrupted images, which improves "
        "guidance",
    )
    adversarial: float = Field(
        0.0,
        ge=0,
        description="maximum L2 length of adversarial attacks per 64 px, for images 0..1; 0: none",
    )
    init: str = Field("", description="weights file to initialise from; its architecture is kept")

    def build(self, run: Any) -> Any:
        """The training."""
        from pixweave_tiny.clip_training import ClipTraining

        return ClipTraining(self, run)
