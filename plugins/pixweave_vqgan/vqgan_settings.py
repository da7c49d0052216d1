"""Settings of the generator, codec and trainer `vqgan`; see MODEL_CARD.md in this folder."""

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
    """An image decoded from a grid of learned codes (VQGAN), which favours clear shapes and edges.

    The embedded model was trained by this project on images of 64 px that it renders itself. Every
    VQGAN of taming-transformers works too, with a plain or a Gumbel codebook or inside a
    transformer: by its name in the model store, or as a checkpoint and its config.
    """

    can: ClassVar[frozenset[str]] = frozenset({"start_from", "latent"})
    natural_rate: ClassVar[dict[str, float]] = {"0": 0.15, "end": 0.03}

    grid: int | None = Field(
        None,
        ge=1,
        le=512,
        description="codes on the short side; the decoded image is resized if its size differs. "
        "By default as many as the image size needs, which is rounded to whole codes; 16 with the "
        "embedded model, whose codes are 8 px",
    )
    codes: bool = Field(
        True,
        description="decode the code nearest to each latent; false: decode the latents themselves",
    )
    start: Literal["auto", "sample", "codes", "one", "noise", "snow", "gradient", "clouds"] = Field(
        "auto",
        description="initial latents. sample: an image that `tiny-dalle` samples for the prompts; "
        "codes: random codes; one: one code everywhere; noise: noisy latents; snow, gradient, "
        "clouds: an encoded image of coloured noise, of a colour gradient, of coloured clouds; "
        "auto: sample with the embedded model and a text prompt, else codes",
    )
    average: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="show the moving average of the latents, with this decay per step (0.9 to "
        "0.99), for a calmer result; costs one more decoding per step. 0: none",
    )
    compile: bool = Field(
        False,
        description="compile the decoder with torch.compile; at most useful on a GPU: on a CPU it "
        "takes a minute, needs a C++ compiler, and is slower afterwards",
    )
    model: str | None = Field(
        None,
        description="name of a VQGAN in the model store, as listed by `pixweave models ls`; "
        "downloaded by the first run",
    )
    weights: InputFile | None = Field(
        None,
        description="a .ckpt or .safetensors file of taming-transformers' VQModel, GumbelVQ "
        "or Net2NetTransformer",
    )
    config: InputFile | None = Field(
        None,
        description="config of the weights; by default the .yaml with the same name beside them",
    )

    def latents(self, size: tuple[int, int], factor: int) -> tuple[int, int]:
        """Columns and rows of the grid for an image of that size, with about its aspect ratio."""
        grid = self.grid or (EMBEDDED_GRID if self._embedded else None)
        scale = grid / min(size) if grid else 1 / factor
        columns, rows = (max(1, round(scale * side)) for side in size)
        return columns, rows

    def fit_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """The nearest size of whole codes; `size` if the grid is set or the model is missing."""
        if self.grid or self._embedded:
            return size
        try:
            factor = self._config().factor
        except PixweaveError:
            return size
        columns, rows = self.latents(size, factor)
        return columns * factor, rows * factor

    def prompts_to_sample(self, recipe: RecipeInfo) -> list[tuple[str, float]]:
        """The texts to sample a start for, with their weights; empty if nothing is sampled."""
        sampled = self.start == "sample" or (self.start == "auto" and self._embedded)
        return prompts_to_sample(recipe) if sampled else []

    def check(self, recipe: RecipeInfo) -> Iterable[Issue]:
        """The source of the weights must be unambiguous, and weights and config must exist."""
        if self.start == "sample":
            yield from check_sample(recipe, "start")
        if self.model is not None and self.weights is not None:
            yield Issue("weights", "model is set too", "keep one of 'model' and 'weights'")
        elif self.config is not None and self.weights is None:
            yield Issue("config", "config is set without weights", "set weights to the .ckpt")
        elif self.model is not None:
            yield from self._check_model(self.model)
        elif self._embedded and not all(map(Path.is_file, EMBEDDED)):
            yield Issue(
                "use", "its weights are missing from this installation", "reinstall pixweave"
            )
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
                    f"'{found}' is not on this machine; the run downloads it"
                    + (f", {extent}" if extent else ""),
                    f"`pixweave models get {found}` downloads it now and shows the progress",
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
        """Paths of the weights and their config; `fetch` downloads a model of the store if needed.

        Raises MissingError if the model is not on this machine and is not downloaded.
        """
        if self.model is None:
            weights = self.weights or EMBEDDED[0]
            return weights, self.config or weights.with_suffix(".yaml")
        models, name = store(), in_store(self.model)
        found = models.get(name) if fetch else models.path(name)
        return found.weights, found.config or found.weights.with_suffix(".yaml")

    def build(self, run: BuildContext) -> Any:
        """The generator; see `pixweave_vqgan.latent_generator`."""
        from pixweave_vqgan.latent_generator import LatentImage

        return LatentImage(self, run)


def in_store(name: str) -> str:
    """The name as written in the catalogue; `-` and `_` are equivalent."""
    known = {found.replace("-", "_"): found for found in store().models}
    return known.get(name.replace("-", "_"), name)


class VqganCodec(Component):
    """A VQGAN as an image tokenizer: images to codes and back (Esser et al. 2021).

    The embedded model, or one of taming-transformers from a checkpoint and its config.
    """

    weights: InputFile | None = Field(
        None, description="a .ckpt or .safetensors file; by default the embedded model"
    )
    config: InputFile | None = Field(
        None,
        description="config of the weights; by default the .yaml with the same name beside them",
    )

    def build(self, run: BuildContext) -> Any:
        """The codec; see `pixweave_vqgan.vqgan_model`."""
        from pixweave_vqgan.vqgan_model import shared_vqgan

        weights = self.weights or EMBEDDED[0]
        return shared_vqgan(weights, self.config or weights.with_suffix(".yaml"), run.device)


class VqganTrainer(Component):
    """Train a small VQGAN on images; captions are not used.

    Writes FILE.ckpt (float16) and FILE.yaml in the layout of taming-transformers, which
    `{use: vqgan, weights: FILE.ckpt}` reads. The embedded model was trained with it.
    """

    suffix: ClassVar[str] = ".ckpt"

    size: int = Field(64, ge=32, le=512, description="side of the images in pixels")
    steps: int = Field(
        6000, ge=1, description="number of updates; the learning rate decays to the end"
    )
    batch: int = Field(32, ge=1, description="images per update")
    lr: float = Field(1e-3, gt=0, description="peak learning rate (AdamW, cosine decay)")
    channels: int = Field(32, ge=32, multiple_of=32, description="channels at full resolution")
    multiples: tuple[int, ...] = Field(
        (1, 1, 2, 4),
        min_length=2,
        description="factors on the channels for each level, which halves the resolution",
    )
    blocks: int = Field(1, ge=0, description="residual blocks per level")
    dim: int = Field(32, ge=1, description="dimensions of a code")
    codes: int = Field(512, ge=2, description="number of codes in the codebook")
    warm: float = Field(
        0.05, ge=0, le=1, description="share of the run, at its start, without quantisation"
    )
    edges: float = Field(
        0.5, ge=0, description="weight of the L1 loss on differences of neighbouring pixels"
    )
    perceptual: float = Field(0.2, ge=0, description="weight of the perceptual loss")
    perceptor: Part = PartOf(
        "perceptor", default="tiny", description="perceptor of the perceptual loss"
    )
    commitment: float = Field(
        0.25,
        ge=0,
        description="weight of the commitment loss, which keeps latents near their codes",
    )
    adversarial: float = Field(0.2, ge=0, description="weight of the discriminator; 0: none")
    adversarial_start: float = Field(
        0.6, ge=0, le=1, description="share of the run before the discriminator is used"
    )
    restart: float = Field(
        0.05, ge=0, le=1, description="codes used less than this times the mean are reset"
    )
    loose: float = Field(
        0.1, ge=0, le=1, description="share of images decoded from noisy latents instead of codes"
    )
    swap: float = Field(
        0.1, ge=0, le=1, description="share of images with one code in 20 replaced by another"
    )

    def build(self, run: Any) -> Any:
        """The training."""
        from pixweave_vqgan.vqgan_training import VqganTraining

        return VqganTraining(self, run)
