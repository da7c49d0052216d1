"""Perceptor `tiny`: the small CLIP that ships with pixweave; see MODEL_CARD.md beside this file."""

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

    Trained by the project on pictures that it renders itself; needs no download. Its card says how
    well it searches, names and guides, measured. With `weights` it runs a CLIP of your own, as
    `pixweave train clip` writes it.
    """

    weights: InputFile | None = Field(
        None,
        description="a .safetensors file of `pixweave train clip`; by default the embedded one",
    )

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """The weights must be there, and of a CLIP that this can run."""
        from pixweave_tiny.clip_files import complaint

        wrong = complaint(self.weights)
        if wrong:
            yield Issue("weights" if self.weights else "use", *wrong)

    def identity(self) -> str:
        """The digest of the weights and of their config."""
        from pixweave_tiny.clip_files import digest

        return digest(self.weights)

    def build(self, run: BuildContext) -> Any:
        """The live model on the run's device."""
        from pixweave_tiny.tiny_perceptor import TinyPerceptor

        return TinyPerceptor(self.weights, run)

    def reference(self) -> Any:
        """open_clip's build of the same weights, for the self-check of encoders."""
        from pixweave_tiny.open_clip_check import Reference

        return Reference(self.weights)


class Clip(Component):
    """Train a small CLIP on pictures with captions: for search, naming, and as a guide.

    Writes FILE (.safetensors, float16), its config FILE.json and the merge list bpe.txt.gz, which
    both `{use: tiny, weights: FILE}` and open_clip read. The embedded `tiny` was made by it.
    """

    suffix: ClassVar[str] = ".safetensors"

    size: int = Field(64, ge=32, le=512, description="side of the pictures kept in memory, px")
    image_size: int = Field(64, ge=32, le=512, description="side that the model looks at, px")
    early_size: int = Field(
        0,
        ge=0,
        le=512,
        description="side in the early part of the run (resnet only, a multiple of 32); 0: none",
    )
    early: float = Field(0.55, ge=0, le=1, description="that part, as a share of the steps")
    steps: int = Field(20_000, ge=1, description="updates; the learning rate falls until there")
    batch: int = Field(128, ge=2, description="pictures per update")
    lr: float = Field(1.5e-3, gt=0, description="highest learning rate (AdamW, cosine)")
    tower: Literal["resnet", "vit"] = Field(
        "resnet", description="what reads the picture: CLIP's ResNet, or a transformer of patches"
    )
    scale: float = Field(40.0, ge=1, le=100, description="highest factor on the cosines")
    names: float = Field(1.0, ge=0, description="weight of the match with the names of all things")
    fresh: int = Field(128, ge=1, description="names that take part with their gradient, per step")
    mosaic: float = Field(0.15, ge=0, le=1, description="share of pictures on a coarse pixel grid")
    spoil: float = Field(0.25, ge=0, le=1, description="share of pictures that are half made")
    gradient: float = Field(
        0.0, ge=0, description="weight of the slope's direction on those: makes a better guide"
    )
    adversarial: float = Field(
        0.0, ge=0, description="L2 length of attacks per 64 px, pictures 0..1; 0: none"
    )
    init: str = Field("", description="weights file to start from; its architecture is kept")

    def build(self, run: Any) -> Any:
        """The live training."""
        from pixweave_tiny.clip_training import ClipTraining

        return ClipTraining(self, run)
