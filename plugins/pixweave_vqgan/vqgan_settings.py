"""Generator and trainer `vqgan`: pictures made of learned codes; see MODEL_CARD.md beside it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pixweave import Component, Field, Issue, Part, PartOf
from pixweave.errors import PixweaveError, did_you_mean
from pixweave.models import store
from pixweave.recipe.paths import InputFile
from pixweave.recipe.sample_setting import check_sample, prompts_to_sample
from pixweave_vqgan.model_config import Config, read_config

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pixweave.component import BuildContext, RecipeInfo

HERE = Path(__file__).parent
EMBEDDED = (HERE / "tiny-vqgan.ckpt", HERE / "tiny-vqgan.yaml")
EMBEDDED_GRID = 16


class Vqgan(Component):
    """A picture decoded from a grid of learned codes (VQGAN): shapes and edges come by themselves.

    The embedded model was trained by the project on pictures of 64 px that it renders itself. Every
    VQGAN of taming-transformers fits too, with a plain or a Gumbel codebook or inside of a
    transformer: by its name in the model store, or as a checkpoint and its config.
    """

    can: ClassVar[frozenset[str]] = frozenset({"start_from", "latent"})
    natural_rate: ClassVar[dict[str, float]] = {"0": 0.15, "end": 0.03}

    grid: int | None = Field(
        None,
        ge=1,
        le=512,
        description="codes on the short side; the picture is resized where "
        "they make another size. By default as many as the size asks for, which is rounded to "
        "whole codes; 16 in the embedded model, whose codes are 8 px",
    )
    codes: bool = Field(
        True, description="show the code nearest to each latent; false: what lies between them too"
    )
    start: Literal["auto", "sample", "codes", "one", "noise", "snow", "gradient", "clouds"] = Field(
        "auto",
        description="a picture that `tiny-dalle` samples for the prompts; a random code at "
        "each place, one code everywhere, noisy latents; or what the encoder makes of coloured "
        "snow, of a gradient, or of clouds of colour. auto: a sample where the embedded model "
        "draws and there are texts to sample for, else codes",
    )
    average: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="show a picture of the latents averaged over the steps, so "
        "much of the average kept at each (0.9 to 0.99; calmer); costs a decoding a step. 0: none",
    )
    compile: bool = Field(
        False,
        description="let torch compile the decoder; of use on a GPU, if anywhere: on a CPU "
        "it takes a minute, a C++ compiler, and is slower after it",
    )
    model: str | None = Field(
        None,
        description="a VQGAN of the model store, as `pixweave models ls` names it; fetched "
        "by the first run",
    )
    weights: InputFile | None = Field(
        None,
        description="a .ckpt or .safetensors file of taming-transformers' VQModel, GumbelVQ "
        "or Net2NetTransformer",
    )
    config: InputFile | None = Field(
        None, description="its config; by default the .yaml of the same name beside it"
    )

    def latents(self, size: tuple[int, int], factor: int) -> tuple[int, int]:
        """Columns and rows of the grid for a picture of that size, of about its shape."""
        grid = self.grid or (EMBEDDED_GRID if self._embedded else None)
        scale = grid / min(size) if grid else 1 / factor
        columns, rows = (max(1, round(scale * side)) for side in size)
        return columns, rows

    def fit_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The nearest size of whole codes, unless the grid is given or the model is not here."""
        if self.grid or self._embedded:
            return size
        try:
            factor = self._config().factor
        except PixweaveError:
            return size
        columns, rows = self.latents(size, factor)
        return columns * factor, rows * factor

    def prompts_to_sample(self, recipe: RecipeInfo) -> list[tuple[str, float]]:
        """The texts that a start is sampled for and their weights; empty where none is sampled."""
        sampled = self.start == "sample" or (self.start == "auto" and self._embedded)
        return prompts_to_sample(recipe) if sampled else []

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """Where the weights come from must be clear, and files and configs must be there."""
        if self.start == "sample":
            yield from check_sample(recipe, "start")
        if self.model is not None and self.weights is not None:
            yield Issue("weights", "there is a model too", "keep one of 'model' and 'weights'")
        elif self.config is not None and self.weights is None:
            yield Issue("config", "a config without weights", "set weights to the .ckpt")
        elif self.model is not None:
            yield from self._check_model(self.model)
        elif self._embedded and not all(map(Path.is_file, EMBEDDED)):
            yield Issue("use", "its weights are not in this installation", "reinstall pixweave")
        else:
            yield from self._check_config()

    def _check_model(self, name: str) -> Iterable[Issue]:
        models = store()
        try:
            known = models.models
            if (found := in_store(name)) not in known:
                hint = did_you_mean(name, known)
                yield Issue("model", f"there is no model '{name}' in the catalogue", hint)
            elif models.state(found) == "here":
                yield from self._check_config()
            else:
                extent = known[found].extent
                yield Issue(
                    "model",
                    f"'{found}' is not on this machine; the run fetches it"
                    + (f", {extent}" if extent else ""),
                    f"`pixweave models get {found}` fetches it now and shows how far it is",
                    fatal=False,
                )
        except PixweaveError as error:
            yield Issue("model", str(error))

    def _check_config(self) -> Iterable[Issue]:
        setting = "config" if self.config else "model" if self.model else "weights"
        _, config = self.files()
        if not config.is_file():
            yield Issue(setting, f"there is no config '{config}'", "set config to its path")
            return
        try:
            read_config(config)
        except PixweaveError as error:
            yield Issue(setting, str(error))

    @property
    def _embedded(self) -> bool:
        return self.model is None and self.weights is None

    def _config(self) -> Config:
        return read_config(self.files()[1])

    def files(self, fetch: bool = False) -> tuple[Path, Path]:
        """The weights and their config; a model of the store is fetched only if that is asked.

        MissingError if it is not on this machine and is not to be fetched, or cannot be.
        """
        if self.model is None:
            weights = self.weights or EMBEDDED[0]
            return weights, self.config or weights.with_suffix(".yaml")
        models, name = store(), in_store(self.model)
        found = models.get(name) if fetch else models.path(name)
        return found.weights, found.config or found.weights.with_suffix(".yaml")

    def build(self, run: BuildContext) -> Any:
        """The live latents; see `pixweave_vqgan.latent_generator`."""
        from pixweave_vqgan.latent_generator import VqganPicture

        return VqganPicture(self, run)


def in_store(name: str) -> str:
    """The name as the catalogue has it, where `-` and `_` mean the same."""
    known = {found.replace("-", "_"): found for found in store().models}
    return known.get(name.replace("-", "_"), name)


class VqganCodec(Component):
    """A VQGAN as an image tokenizer: pictures to codes and back (Esser et al. 2021).

    The embedded model, or one of taming-transformers from a checkpoint and its config.
    """

    weights: InputFile | None = Field(
        None, description="a .ckpt or .safetensors file; by default the embedded model"
    )
    config: InputFile | None = Field(
        None, description="its config; by default the .yaml of the same name beside it"
    )

    def build(self, run: BuildContext) -> Any:
        """The model; see `pixweave_vqgan.vqgan_model`."""
        from pixweave_vqgan.vqgan_model import shared_vqgan

        weights = self.weights or EMBEDDED[0]
        return shared_vqgan(weights, self.config or weights.with_suffix(".yaml"), run.device)


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
    perceptual: float = Field(0.2, ge=0, description="weight of how different it looks")
    perceptor: Part = PartOf(
        "perceptor", default="tiny", description="what sees how different pictures look"
    )
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
        from pixweave_vqgan.vqgan_training import VqganTraining

        return VqganTraining(self, run)
