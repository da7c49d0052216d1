"""VQGAN (Esser et al. 2021): taming-transformers' own modules, and loading of their weights.

The layers are `Encoder` and `Decoder` of taming-transformers (MIT), so every checkpoint of its
`VQModel` and `GumbelVQ` fits, key for key. `taming.models` is not imported, as it needs Lightning.
"""

from __future__ import annotations

import contextlib
import io
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from taming.modules.diffusionmodules.model import Decoder, Encoder
from torch import Tensor, nn

from pixweave.errors import MissingError, RunError
from pixweave.models.convert import read
from pixweave_vqgan.model_config import Config, read_config
from pixweave_vqgan.training_forward import walk_decoder, walk_encoder

HERE = Path(__file__).parent
WEIGHTS = HERE / "tiny-vqgan.ckpt"
BESIDE = ("transformer.", "cond_stage_model.", "permuter.")
"""Prefixes of the other weights in the checkpoint of a transformer."""


class VQModel(nn.Module):
    """Encodes images `[B,3,H,W]`, 0..1, to latents `[B,D,H/f,W/f]`, and decodes them; K codes.

    `params` are those of taming's config: embed_dim (D), n_embed (K) and ddconfig. With `gumbel`
    the layout is that of `GumbelVQ`, where the encoder returns code logits instead of latents.
    """

    def __init__(self, params: dict[str, Any], gumbel: bool = False) -> None:
        super().__init__()
        self.params, self.gumbel = params, gumbel
        layers, dim, count = params["ddconfig"], params["embed_dim"], params["n_embed"]
        depth = layers["z_channels"]
        with contextlib.redirect_stdout(io.StringIO()):  # the decoder prints its shape
            self.encoder, self.decoder = Encoder(**layers), Decoder(**layers)
        weight = torch.empty(count, dim)
        if not weight.is_meta:  # on meta it would import torch._dynamo: a second
            nn.init.normal_(weight)
        codes = nn.Embedding(count, dim, _weight=weight)
        book = {"embed" if gumbel else "embedding": codes}
        projection = {"proj": nn.Conv2d(depth, count, 1)} if gumbel else {}
        self.quantize = nn.ModuleDict({**book, **projection})
        self.quant_conv = nn.Conv2d(depth, dim, 1)
        self.post_quant_conv = nn.Conv2d(dim, depth, 1)
        self.factor: int = 2 ** (len(layers["ch_mult"]) - 1)
        self.resolution: int = layers["resolution"]

    @property
    def codebook(self) -> Tensor:
        """The codes `[K,D]`."""
        book: Any = self.quantize["embed" if self.gumbel else "embedding"]
        weight: Tensor = book.weight
        return weight

    def encode(self, image: Tensor) -> Tensor:
        """Return the latents of an image, whose sides must be multiples of `factor`.

        They are not quantised, except with a Gumbel codebook, where they are the most likely codes.
        """
        latent = self.quant_conv(walk_encoder(self.encoder, image * 2 - 1))
        return self.look_up(self.quantize["proj"](latent).argmax(1)) if self.gumbel else latent

    def decode(self, latent: Tensor) -> Tensor:
        """Return the image; values may be slightly outside 0..1."""
        return walk_decoder(self.decoder, self.post_quant_conv(latent)) * 0.5 + 0.5

    def nearest(self, latent: Tensor) -> Tensor:
        """Return the index of the nearest code at each position, int64 `[B,h,w]`."""
        flat = latent.detach().float().permute(0, 2, 3, 1)
        book = self.codebook.detach()
        # |z - e|^2 without |z|^2, which is the same for all codes
        return (book.square().sum(1) - 2 * flat @ book.T).argmin(-1)

    def look_up(self, codes: Tensor) -> Tensor:
        """Return the latents `[B,D,h,w]` of code indices `[B,h,w]`."""
        latent = self.codebook[codes].permute(0, 3, 1, 2)
        return latent.contiguous(memory_format=torch.channels_last)

    def snap(self, latent: Tensor) -> Tensor:
        """Return the nearest codes, with a straight-through gradient (van den Oord et al. 2017)."""
        quantised = self.look_up(self.nearest(latent)).detach()
        return latent + (quantised - latent).detach()


def load_vqgan(weights: Path = WEIGHTS, config: Path | None = None) -> VQModel:
    """Return a model in taming's layout: frozen, float32, eval mode.

    `weights` is a .safetensors file, or a checkpoint of Lightning 1 or 2 or plain torch; `config`
    is by default the .yaml beside it. Raises MissingError if one of the two does not exist, and
    RunError if the config is of another kind of model, if the file contains anything but data, or
    if the names or shapes of its tensors do not fit.
    """
    settings = read_config(config or weights.with_suffix(".yaml"))
    state = _select_model(read_tensors(weights), settings, weights)
    model = _empty(settings)
    expected = model.state_dict()
    for problem in (
        _listed("lacks", (key for key in expected if key not in state)),
        _listed("has the unexpected", (key for key in state if key not in expected)),
        _listed("has", _shapes(state, expected)),
    ):
        if problem:
            raise RunError(f"'{weights}' does not fit '{settings.path}': the file {problem}")
    model.load_state_dict({key: value.float() for key, value in state.items()}, assign=True)
    return model.to(memory_format=torch.channels_last).eval().requires_grad_(False)


_shared: weakref.WeakValueDictionary[tuple[Any, ...], VQModel] = weakref.WeakValueDictionary()


def shared_vqgan(weights: Path, config: Path, device: torch.device) -> VQModel:
    """Load a model to a device, or return the same instance while another user holds it."""
    files = tuple((path, path.stat().st_mtime_ns) for path in (weights, config) if path.is_file())
    key = (*files, str(device))
    model = _shared.get(key)
    if model is None:
        model = _shared[key] = load_vqgan(weights, config).to(device)
    return model


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the state dict of a .safetensors file or of a checkpoint; no code in it is run."""
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except FileNotFoundError:
            raise MissingError(f"file '{path}' not found") from None
        except (SafetensorError, OSError) as error:
            raise RunError(f"'{path}' is not a safetensors file: {error}") from None
    content = read(path)
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise RunError(f"'{path}' contains no state dict of tensors")
    return {str(key): value for key, value in content.items()}


def _select_model(state: dict[str, Tensor], config: Config, path: Path) -> dict[str, Tensor]:
    """The tensors of the VQGAN only, without its loss or a surrounding transformer."""
    if config.prefix:
        other = (k for k in state if not k.startswith((config.prefix, *BESIDE)))
        if problem := _listed("has the unexpected", other):
            raise RunError(f"'{path}' does not fit '{config.path}': the file {problem}")
        cut = len(config.prefix)
        state = {k[cut:]: v for k, v in state.items() if k.startswith(config.prefix)}
    return {key: value for key, value in state.items() if not key.startswith("loss.")}


def _empty(config: Config) -> VQModel:
    """The model on the meta device, without memory for its weights."""
    try:
        with torch.device("meta"):
            return VQModel(config.params, config.gumbel)
    except (TypeError, ValueError, RuntimeError, LookupError, ArithmeticError) as error:
        raise RunError(f"'{config.path}' does not describe a VQGAN: {error}") from None


def _shapes(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Iterable[str]:
    for key in [key for key in expected if key in state]:
        actual, wanted = (list(tensors[key].shape) for tensors in (state, expected))
        if actual != wanted:
            yield f"{key} of {actual} instead of {wanted}"


def _listed(verb: str, keys: Iterable[str]) -> str:
    found = list(keys)
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return f"{verb} {', '.join(found[:3])}{more}" if found else ""
