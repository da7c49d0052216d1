"""A fast image tower: the same result as open_clip's VisionTransformer in less time and memory.

Same weights, same result up to rounding. Only forward and the gradient with respect to the pixels
are supported, since a perceptor's weights are frozen. Differences (benchmarks/loop.py measures a
step of ViT-B/32 with 30 images on one core of a Zen 5):

- float32 matrix products by oneDNN where it is faster than torch's default (2.2 times on AMD with
  AVX-512);
- the patch convolution is one matrix product, with mean and std of the pixels folded into it;
- in the last block only the class token is a query and passes the projection and the MLP, since
  only its output is used;
- QuickGELU is one `silu`, with its factor 1.702 folded into the adjacent weights;
- in bf16 on the CPU, attention over few tokens is written out (its fused backward is slow there).

Folding the affine part of the layer norms into the next product gave no speed-up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from open_clip.transformer import QuickGELU, ResidualAttentionBlock, VisionTransformer
from torch import Tensor, nn

Map = Callable[[Tensor], Tensor]


def fits(visual: nn.Module) -> bool:
    """Whether `FastTower` supports this image tower."""
    return (
        type(visual) is VisionTransformer
        and visual.attn_pool is None
        and visual.pool_type == "tok"
        and visual.proj is not None
        and not visual.output_tokens
        and all(_plain(block) for block in visual.transformer.resblocks)
    )


def _plain(block: Any) -> bool:
    return (
        type(block) is ResidualAttentionBlock
        and isinstance(block.ls_1, nn.Identity)
        and isinstance(block.ls_2, nn.Identity)
        and block.attn.in_proj_weight is not None
        and block.attn.in_proj_bias is not None
        and type(block.mlp.gelu) in (nn.GELU, QuickGELU)
    )


class FastTower:
    """Raw features `[N, D]`, float32, of images `[N, 3, S, S]`, 0..1; differentiable.

    `visual` is a tower for which `fits` is True; unchanged weights are shared with it. `mean` and
    `std` are the pixel normalisation of its training; `dtype` is the precision to compute in.
    """

    def __init__(
        self,
        visual: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        dtype: torch.dtype = torch.float32,
    ) -> None:
        tower: Any = visual
        self.dtype = dtype
        self.patch = tuple(tower.patch_size)
        with torch.no_grad():
            self._fold_pixels(tower, mean, std)
            self.norm_in = _norm(tower.ln_pre, dtype)
            *blocks, last = tower.transformer.resblocks
            self.blocks = [_Block(block, dtype) for block in blocks]
            self.last = _Block(last, dtype)
            self.norm_out = _norm(tower.ln_post, dtype)
            self.project = _linear(tower.proj.t(), None, dtype)

    def __call__(self, crops: Tensor) -> Tensor:
        x = torch.cat([self.start.expand(len(crops), -1, -1), self._patches(crops)], dim=1)
        x = self.norm_in(x)
        for block in self.blocks:
            x = block(x)
        return self.project(self.norm_out(self.last(x, queries=1)[:, 0])).float()

    def _fold_pixels(self, tower: Any, mean: Sequence[float], std: Sequence[float]) -> None:
        """Fold the normalisation into the patch weights: (W / std) x - W mean / std.

        The constant is added to the position embedding.
        """
        weight = tower.conv1.weight.float()
        centre, spread = (weight.new_tensor(v).view(1, 3, 1, 1) for v in (mean, std))
        constant = -(weight * centre / spread).sum((1, 2, 3))
        places = tower.positional_embedding.float()
        self.start = (tower.class_embedding.float() + places[:1])[None].to(self.dtype)
        self.embed = _linear((weight / spread).flatten(1), None, self.dtype)
        self.places = (places[1:] + constant).to(self.dtype)

    def _patches(self, crops: Tensor) -> Tensor:
        """Patch tokens `[N, gh * gw, C]`: the strided convolution as a product with patches."""
        high, wide = self.patch
        count, channels, height, width = crops.shape
        rows, columns = height // high, width // wide
        patches = crops.to(self.dtype).reshape(count, channels, rows, high, columns, wide)
        patches = patches.permute(0, 2, 4, 1, 3, 5).reshape(count, rows * columns, -1)
        return self.embed(patches) + self.places


class _Block:
    """One pre-norm block `[N, L, C]` -> `[N, queries, C]`; by default every token is a query."""

    def __init__(self, block: Any, dtype: torch.dtype) -> None:
        attention, mlp = block.attn, block.mlp
        self.width = attention.embed_dim
        self.heads = attention.num_heads
        self.norm_1, self.norm_2 = _norm(block.ln_1, dtype), _norm(block.ln_2, dtype)
        weight, bias = attention.in_proj_weight, attention.in_proj_bias
        self.qkv = _linear(weight, bias, dtype)
        self.query = _linear(weight[: self.width], bias[: self.width], dtype)
        self.key_value = _linear(weight[self.width :], bias[self.width :], dtype)
        self.out = _linear(attention.out_proj.weight, attention.out_proj.bias, dtype)
        quick = isinstance(mlp.gelu, QuickGELU)
        scale = 1.702 if quick else 1.0  # x sigmoid(1.702 x) = silu(1.702 x) / 1.702
        self.activate: Map = F.silu if quick else partial(F.gelu, approximate=mlp.gelu.approximate)
        self.widen = _linear(mlp.c_fc.weight * scale, mlp.c_fc.bias * scale, dtype)
        self.narrow = _linear(mlp.c_proj.weight / scale, mlp.c_proj.bias, dtype)

    def __call__(self, x: Tensor, queries: int | None = None) -> Tensor:
        normed = self.norm_1(x)
        if queries is None:
            parts = self.qkv(normed).chunk(3, dim=-1)
        else:
            parts = (self.query(normed[:, :queries]), *self.key_value(normed).chunk(2, dim=-1))
            x = x[:, :queries]
        query, key, value = (t.unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in parts)
        attended = _attend(query, key, value).transpose(1, 2).flatten(2)
        x = x + self.out(attended)
        return x + self.narrow(self.activate(self.widen(self.norm_2(x))))


def _attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(query key' / sqrt(d)) value, for `[N, heads, L, d]`."""
    few = key.shape[-2] <= 256  # the memory is quadratic in the number of tokens
    if query.device.type == "cpu" and query.dtype == torch.bfloat16 and few:
        scores = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        return scores.softmax(dim=-1) @ value
    return F.scaled_dot_product_attention(query, key, value)


def _norm(layer: Any, dtype: torch.dtype) -> Map:
    if not isinstance(layer, nn.LayerNorm):
        return lambda x: x
    weight, bias = layer.weight.detach().to(dtype), layer.bias.detach().to(dtype)
    return lambda x: F.layer_norm(x, layer.normalized_shape, weight, bias, layer.eps)


def _linear(weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> Map:
    weight = weight.detach().to(dtype).contiguous()
    bias = None if bias is None else bias.detach().to(dtype)
    if dtype == torch.float32 and weight.device.type == "cpu" and onednn_is_faster():
        return lambda x: _OneDnnLinear.apply(x, weight, bias)
    return lambda x: F.linear(x, weight, bias)


class _OneDnnLinear(torch.autograd.Function):
    """A linear map with constant weights, by oneDNN; torch uses MKL for float32 by default."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.weight = weight
        return _onednn(x, weight, bias)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        # the transpose is a view: a transposed copy of the weights would be no faster
        return _onednn(gradient.contiguous(), ctx.weight.t(), None), None, None


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")


@cache
def onednn_is_faster() -> bool:
    """Whether oneDNN multiplies float32 matrices on this CPU much faster than torch's default.

    MKL uses half of the vector width on CPUs not made by Intel. The decision comes from timing a
    product once per process (about 30 ms), which also checks that both results agree.
    """
    if not torch.backends.mkldnn.is_available():
        return False
    rng = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(n, 768, generator=rng) for n in (256, 768))
    try:
        with torch.no_grad():
            expected = F.linear(x, weight)
            same = torch.allclose(_onednn(x, weight, None), expected, rtol=1e-3, atol=1e-3)
            slow, fast = _seconds(F.linear, x, weight), _seconds(_onednn, x, weight, None)
    except (AttributeError, NotImplementedError, RuntimeError, TypeError):
        return False  # an internal operator of torch, which other versions may lack
    return same and slow > 1.4 * fast


def _seconds(function: Callable[..., Tensor], *inputs: Tensor | None) -> float:
    times = []
    for _ in range(10):  # the minimum of ten is robust on a busy machine
        start = time.perf_counter()
        function(*inputs)
        times.append(time.perf_counter() - start)
    return min(times)
