"""Generator and trainer `vqgan`: pictures made of learned codes; see MODEL_CARD.md beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pixweave import Complaint, Component, Field, hookimpl
from pixweave.recipe.files import InputFile

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pixweave.recipe import Recipe
    from pixweave.run import Run

HERE = Path(__file__).parent


class Vqgan(Component):
    """A picture decoded from a grid of learned codes (VQGAN): shapes and edges come by themselves.

    The embedded model was trained by the project on pictures of 64 px that it renders itself;
    checkpoints of taming-transformers' `VQModel` fit too.
    """

    can: ClassVar[frozenset[str]] = frozenset({"start_from", "latent"})
    natural_rate: ClassVar[dict[str, float]] = {"0": 0.15, "end": 0.03}

    grid: int = Field(
        16, ge=2, le=128, description="latents on the short side; 8 px each in the embedded model"
    )
    codes: bool = Field(
        True, description="show the code nearest to each latent; false: what lies between them too"
    )
    start: Literal["codes", "one", "noise"] = Field(
        "codes", description="a random code at each place, one code everywhere, or noisy latents"
    )
    weights: InputFile | None = Field(None, description="a .ckpt of taming-transformers' VQModel")
    config: InputFile | None = Field(
        None, description="its config; by default the .yaml of the same name beside it"
    )

    def latents(self, size: tuple[int, int]) -> tuple[int, int]:
        """Columns and rows of the grid for a picture of that size, of about its shape."""
        short = min(size)
        columns, rows = (max(1, round(self.grid * side / short)) for side in size)
        return columns, rows

    def check(self, recipe: Recipe) -> Iterable[Complaint]:
        """The weights and their config must be there."""
        if self.config is not None and self.weights is None:
            yield Complaint("config", "a config without weights", "set weights to the .ckpt")
        elif self.weights is None:
            if not all((HERE / f"tiny-vqgan{end}").is_file() for end in (".ckpt", ".yaml")):
                yield Complaint(
                    "use", "its weights are not in this installation", "reinstall pixweave"
                )
        elif self.config is None and not self.weights.with_suffix(".yaml").is_file():
            beside = self.weights.with_suffix(".yaml")
            yield Complaint("weights", f"there is no config '{beside}'", "set config to its path")

    def build(self, run: Run) -> Any:
        """The live latents; see `pixweave_vqgan.generator`."""
        from pixweave_vqgan.generator import VqganPicture

        return VqganPicture(self, run)


@hookimpl
def register_generators() -> dict[str, type[Component]]:
    """Offer `vqgan`."""
    return {"vqgan": Vqgan}


class VqganTrainer(Component):
    """Train a small VQGAN on pictures; captions are not looked at.

    Writes FILE.ckpt (float16) and FILE.yaml in the layout of taming-transformers, which
    `{use: vqgan, weights: FILE.ckpt}` reads. The embedded one was made by it.
    """

    suffix: ClassVar[str] = ".ckpt"

    size: int = Field(64, ge=32, le=512, description="side of the pictures, px")
    steps: int = Field(6000, ge=1, description="updates; the learning rate falls until there")
    batch: int = Field(32, ge=1, description="pictures per update")
    lr: float = Field(1e-3, gt=0, description="highest learning rate (AdamW, cosine)")
    channels: int = Field(32, ge=32, multiple_of=32, description="width at full resolution")
    multiples: tuple[int, ...] = Field(
        (1, 1, 2, 4), min_length=2, description="widths of the levels, each half as large"
    )
    blocks: int = Field(1, ge=0, description="residual blocks per level")
    dim: int = Field(32, ge=1, description="length of a code")
    codes: int = Field(512, ge=2, description="how many codes there are")
    warm: float = Field(0.05, ge=0, le=1, description="share of the run without codes, at first")
    edges: float = Field(0.5, ge=0, description="weight of the difference between neighbours")
    perceptual: float = Field(0.2, ge=0, description="weight of how different it looks to `tiny`")
    commitment: float = Field(0.25, ge=0, description="weight that keeps latents near their codes")
    adversarial: float = Field(0.2, ge=0, description="weight of the discriminator; 0: none")
    adversarial_start: float = Field(
        0.6, ge=0, le=1, description="share of the run before the discriminator takes part"
    )
    restart: float = Field(
        0.05, ge=0, le=1, description="codes used less than this times the mean are moved"
    )
    loose: float = Field(
        0.1, ge=0, le=1, description="share of pictures decoded from noisy latents, not codes"
    )
    swap: float = Field(
        0.1, ge=0, le=1, description="share of pictures with one code in 20 replaced by another"
    )

    def build(self, run: Any) -> Any:
        """The live training."""
        from pixweave_vqgan.train import VqganTraining

        return VqganTraining(self, run)


@hookimpl
def register_trainers() -> dict[str, type[Component]]:
    """Offer `vqgan`."""
    return {"vqgan": VqganTrainer}
