"""VQGAN (Esser et al. 2021): taming-transformers' own modules and weights file, with a faster walk.

The layers are `Encoder` and `Decoder` of taming-transformers (MIT), so every checkpoint of its
`VQModel` fits, key for key. Their forward is walked here, since torch's own group norm takes two
thirds of a training step on a CPU. `taming.models.vqgan` is never imported: it needs Lightning.
"""

from __future__ import annotations

import contextlib
import io
import pickle
from pathlib import Path
from typing import Any

import torch
import yaml
from taming.modules.diffusionmodules.model import Decoder, Encoder
from torch import Tensor, nn
from torch.nn import functional as F

HERE = Path(__file__).parent
WEIGHTS = HERE / "tiny-vqgan.ckpt"
TARGET = "taming.models.vqgan.VQModel"


class VqganError(ValueError):
    """A weights file or its config is not what taming-transformers' `VQModel` would read."""


class VQModel(nn.Module):
    """Pictures `[B,3,H,W]`, 0..1, to latents `[B,D,H/f,W/f]` and back, by way of K codes.

    `params` are those of taming's config: embed_dim (D), n_embed (K) and ddconfig.
    """

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__()
        self.params = params
        layers, dim = params["ddconfig"], params["embed_dim"]
        with contextlib.redirect_stdout(io.StringIO()):  # the decoder prints its shape
            self.encoder, self.decoder = Encoder(**layers), Decoder(**layers)
        self.quantize = nn.ModuleDict({"embedding": nn.Embedding(params["n_embed"], dim)})
        depth = layers["z_channels"]
        self.quant_conv = nn.Conv2d(depth * (2 if layers.get("double_z", True) else 1), dim, 1)
        self.post_quant_conv = nn.Conv2d(dim, depth, 1)
        self.factor: int = 2 ** (len(layers["ch_mult"]) - 1)
        self.resolution: int = layers["resolution"]

    @property
    def codebook(self) -> Tensor:
        """The codes `[K,D]`."""
        weight: Tensor = self.quantize["embedding"].weight  # type: ignore[assignment]
        return weight

    def encode(self, image: Tensor) -> Tensor:
        """Return the latents, not quantised; sides must be multiples of `factor`."""
        return self.quant_conv(walk_encoder(self.encoder, image * 2 - 1))

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

    `config` is the .yaml beside the weights unless given. VqganError: the config is of another
    kind of model, the file holds more than tensors, or its keys or shapes do not fit.
    FileNotFoundError: one of the two files is not there.
    """
    config = config or weights.with_suffix(".yaml")
    model = VQModel(read_config(config))
    try:
        stored = torch.load(weights, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError) as error:
        first = str(error).split("\n", 1)[0]
        raise VqganError(f"'{weights}' is not a file of weights alone: {first}") from error
    state = {
        key: value.float()
        for key, value in stored.get("state_dict", stored).items()
        if not key.startswith("loss.")
    }
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise VqganError(f"'{weights}' does not fit '{config}': {error}") from error
    return model.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def read_config(path: Path) -> dict[str, Any]:
    """Return the `params` of a taming config; VqganError if it is not that of a `VQModel`."""
    try:
        model = yaml.safe_load(path.read_text("utf-8"))["model"]
        params: dict[str, Any] = model["params"]
        target, wanted = model["target"], {"embed_dim", "n_embed", "ddconfig"}
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise VqganError(f"'{path}' is no config of taming-transformers: {error!r}") from error
    if target != TARGET or not wanted <= params.keys():
        raise VqganError(f"'{path}' describes a {target}; only {TARGET} is known")
    return params


def walk_encoder(encoder: Any, x: Tensor) -> Tensor:
    """Return what `encoder(x)` returns."""
    x = encoder.conv_in(x.contiguous(memory_format=torch.channels_last))
    for index, level in enumerate(encoder.down):
        for place, block in enumerate(level.block):
            x = walk_block(block, x)
            x = level.attn[place](x) if len(level.attn) else x
        x = level.downsample(x) if index < len(encoder.down) - 1 else x
    return encoder.conv_out(norm_silu(encoder.norm_out, walk_middle(encoder.mid, x)))


def walk_decoder(decoder: Any, z: Tensor) -> Tensor:
    """Return what `decoder(z)` returns."""
    x = walk_middle(decoder.mid, decoder.conv_in(z.contiguous(memory_format=torch.channels_last)))
    for index, level in reversed(list(enumerate(decoder.up))):
        for place, block in enumerate(level.block):
            x = walk_block(block, x)
            x = level.attn[place](x) if len(level.attn) else x
        x = level.upsample(x) if index else x
    return decoder.conv_out(norm_silu(decoder.norm_out, x))


def walk_middle(middle: Any, x: Tensor) -> Tensor:
    return walk_block(middle.block_2, middle.attn_1(walk_block(middle.block_1, x)))


def walk_block(block: Any, x: Tensor) -> Tensor:
    h = block.conv1(norm_silu(block.norm1, x))
    h = block.conv2(block.dropout(norm_silu(block.norm2, h)))
    if block.in_channels != block.out_channels:
        x = block.conv_shortcut(x) if block.use_conv_shortcut else block.nin_shortcut(x)
    return x + h


def norm_silu(norm: nn.GroupNorm, x: Tensor) -> Tensor:
    """Return silu(norm(x)) of `[B,C,H,W]`."""
    if x.device.type != "cpu":
        return F.silu(norm(x))
    return NormSilu.apply(x, norm.weight, norm.bias, norm.num_groups, norm.eps)


class NormSilu(torch.autograd.Function):
    """Group norm (Wu and He 2018) and SiLU for channels-last pictures, in few passes over memory.

    Forward and backward are nine times as fast as torch's on one core (bfloat16, [32,32,64,64]).
    No second derivative.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float
    ) -> Tensor:
        flat = _flat(x)
        count = flat.shape[1] * (x.shape[1] // groups)
        mean = _grouped(_total(flat), groups) / count
        spread = _grouped(_total(flat.square()), groups) / count - mean.square()
        inverse = (spread.clamp(min=0) + eps).rsqrt()
        slope = inverse * weight.to(mean.dtype)
        offset = bias.to(mean.dtype) - mean * slope
        z = torch.addcmul(offset[:, None].to(x.dtype), flat, slope[:, None].to(x.dtype))
        ctx.save_for_backward(x, z, mean, inverse, weight)
        ctx.groups, ctx.count = groups, count
        return _picture(F.silu(z), x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        x, z, mean, inverse, weight = ctx.saved_tensors
        flat = _flat(x)
        grad_z = torch.ops.aten.silu_backward(_flat(grad.to(x.dtype)), z)
        total = _total(grad_z)
        along = _total(grad_z * flat)
        along = (along - mean * total) * inverse  # with respect to the normalised values
        wide = weight.to(mean.dtype)
        level = _grouped(total * wide, ctx.groups) / ctx.count
        tilt = _grouped(along * wide, ctx.groups) / ctx.count * inverse.square()
        shift = (tilt * mean - level * inverse).to(x.dtype)
        grad_x = torch.addcmul(shift[:, None], flat, -tilt[:, None].to(x.dtype))
        grad_x.addcmul_(grad_z, (inverse * wide)[:, None].to(x.dtype))
        return _picture(grad_x, x), along.sum(0), total.sum(0), None, None


def _flat(x: Tensor) -> Tensor:
    """`[B,C,H,W]` as `[B,HW,C]`; without a copy where it is channels-last."""
    x = x.contiguous(memory_format=torch.channels_last)
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, x.shape[1])


def _picture(flat: Tensor, like: Tensor) -> Tensor:
    batch, channels, height, width = like.shape
    return flat.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _total(flat: Tensor) -> Tensor:
    """Sum `[B,N,C]` over N, as float32; half precision is added up by a product with ones."""
    batch, count, channels = flat.shape
    if flat.dtype != torch.bfloat16 or count % 64:
        return flat.sum(1)
    # parts of 64, as a product rounds its result to the type of the input
    ones = torch.ones(1, 1, 64, dtype=flat.dtype).expand(batch * count // 64, -1, -1)
    parts = torch.bmm(ones, flat.reshape(-1, 64, channels))
    return parts.view(batch, -1, channels).float().sum(1)


def _grouped(values: Tensor, groups: int) -> Tensor:
    """Sums within each group of `[B,C]`, said for every channel."""
    batch, channels = values.shape
    sums = values.view(batch, groups, -1).sum(2, keepdim=True)
    return sums.expand(-1, -1, channels // groups).reshape(batch, channels)
