"""VQGAN (Esser et al. 2021): taming-transformers' own modules, and the files of their weights.

The layers are `Encoder` and `Decoder` of taming-transformers (MIT), so every checkpoint of its
`VQModel` and `GumbelVQ` fits, key for key. `taming.models` is never imported: it needs Lightning.
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
"""What else the names of weights begin with in a checkpoint of a transformer."""


class VQModel(nn.Module):
    """Pictures `[B,3,H,W]`, 0..1, to latents `[B,D,H/f,W/f]` and back, by way of K codes.

    `params` are those of taming's config: embed_dim (D), n_embed (K) and ddconfig. With `gumbel`
    the layout is that of `GumbelVQ`, where the encoder votes for codes instead of giving latents.
    """

    def __init__(self, params: dict[str, Any], gumbel: bool = False) -> None:
        super().__init__()
        self.params, self.gumbel = params, gumbel
        layers, dim, count = params["ddconfig"], params["embed_dim"], params["n_embed"]
        depth = layers["z_channels"]
        with contextlib.redirect_stdout(io.StringIO()):  # the decoder prints its shape
            self.encoder, self.decoder = Encoder(**layers), Decoder(**layers)
        weight = torch.empty(count, dim)
        if not weight.is_meta:  # to initialise one imports torch._dynamo, a second
            nn.init.normal_(weight)
        codes = nn.Embedding(count, dim, _weight=weight)
        book = {"embed" if gumbel else "embedding": codes}
        votes = {"proj": nn.Conv2d(depth, count, 1)} if gumbel else {}
        self.quantize = nn.ModuleDict({**book, **votes})
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
        """Return the latents; sides must be multiples of `factor`.

        They are not quantised, but for a Gumbel codebook, where they are the codes voted for.
        """
        latent = self.quant_conv(walk_encoder(self.encoder, image * 2 - 1))
        return self.look_up(self.quantize["proj"](latent).argmax(1)) if self.gumbel else latent

    def decode(self, latent: Tensor) -> Tensor:
        """Return the picture; values may lie a little outside of 0..1."""
        return walk_decoder(self.decoder, self.post_quant_conv(latent)) * 0.5 + 0.5

    def nearest(self, latent: Tensor) -> Tensor:
        """Return the index of the nearest code at each place, int64 `[B,h,w]`."""
        flat = latent.detach().float().permute(0, 2, 3, 1)
        book = self.codebook.detach()
        # |z - e|^2 without |z|^2, which is the same for all codes
        return (book.square().sum(1) - 2 * flat @ book.T).argmin(-1)

    def look_up(self, codes: Tensor) -> Tensor:
        """Return the latents `[B,D,h,w]` of code indices `[B,h,w]`."""
        found = self.codebook[codes].permute(0, 3, 1, 2)
        return found.contiguous(memory_format=torch.channels_last)

    def snap(self, latent: Tensor) -> Tensor:
        """Return the nearest codes; gradients pass straight through (van den Oord et al. 2017)."""
        found = self.look_up(self.nearest(latent)).detach()
        return latent + (found - latent).detach()


def load_vqgan(weights: Path = WEIGHTS, config: Path | None = None) -> VQModel:
    """Return a model in taming's layout, frozen, float32, eval mode.

    `weights` is a .safetensors file, or a checkpoint as Lightning 1 or 2 or plain torch writes it;
    `config` is the .yaml beside it unless given. MissingError: one of the two is not there.
    RunError: the config is of another kind of model, the file holds what is not data, or the names
    or shapes of its tensors do not fit.
    """
    described = read_config(config or weights.with_suffix(".yaml"))
    state = _of_model(read_tensors(weights), described, weights)
    model = _empty(described)
    expected = model.state_dict()
    for fault in (
        _listed("lacks", (key for key in expected if key not in state)),
        _listed("has besides", (key for key in state if key not in expected)),
        _listed("has", _shapes(state, expected)),
    ):
        if fault:
            raise RunError(f"'{weights}' does not fit '{described.path}': the file {fault}")
    model.load_state_dict({key: value.float() for key, value in state.items()}, assign=True)
    return model.to(memory_format=torch.channels_last).eval().requires_grad_(False)


_shared: weakref.WeakValueDictionary[tuple[Any, ...], VQModel] = weakref.WeakValueDictionary()


def shared_vqgan(weights: Path, config: Path, device: torch.device) -> VQModel:
    """The same, on a device; of the same files there is one model, as long as anyone has it."""
    files = tuple((path, path.stat().st_mtime_ns) for path in (weights, config) if path.is_file())
    key = (*files, str(device))
    model = _shared.get(key)
    if model is None:
        model = _shared[key] = load_vqgan(weights, config).to(device)
    return model


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the state dict of a .safetensors file or of a checkpoint; nothing in it is run."""
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except FileNotFoundError:
            raise MissingError(f"there is no file '{path}'") from None
        except (SafetensorError, OSError) as error:
            raise RunError(f"'{path}' is not a safetensors file: {error}") from None
    found = read(path)
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
        raise RunError(f"'{path}' holds no state dict of tensors")
    return {str(key): value for key, value in found.items()}


def _of_model(state: dict[str, Tensor], config: Config, path: Path) -> dict[str, Tensor]:
    """The tensors of the VQGAN alone: without its loss, and out of a transformer around it."""
    if config.prefix:
        other = (k for k in state if not k.startswith((config.prefix, *BESIDE)))
        if fault := _listed("has besides", other):
            raise RunError(f"'{path}' does not fit '{config.path}': the file {fault}")
        cut = len(config.prefix)
        state = {k[cut:]: v for k, v in state.items() if k.startswith(config.prefix)}
    return {key: value for key, value in state.items() if not key.startswith("loss.")}


def _empty(config: Config) -> VQModel:
    """The model without memory for its weights."""
    try:
        with torch.device("meta"):
            return VQModel(config.params, config.gumbel)
    except (TypeError, ValueError, RuntimeError, LookupError, ArithmeticError) as error:
        raise RunError(f"'{config.path}' describes no VQGAN: {error}") from None


def _shapes(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Iterable[str]:
    for key in [key for key in expected if key in state]:
        found, right = (list(tensors[key].shape) for tensors in (state, expected))
        if found != right:
            yield f"{key} of {found} instead of {right}"


def _listed(verb: str, keys: Iterable[str]) -> str:
    found = list(keys)
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return f"{verb} {', '.join(found[:3])}{more}" if found else ""
