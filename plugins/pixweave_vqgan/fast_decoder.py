"""A fast decoder: the same result as taming's `Decoder` in less time and memory.

Same weights, same result up to rounding. Only forward and the gradient with respect to the latents
are supported, as the weights are frozen. Differences on a CPU (benchmarks/vqgan.py measures them):

- tensors are channels-last, the layout that oneDNN's convolutions prefer;
- nearest-neighbour upsampling and the 3x3 convolution after it are one transposed 4x4 convolution,
  with 2.25 times fewer multiplications;
- a residual block is one autograd node: norm and SiLU are computed in parts that fit the cache, in
  place, since most of their time went into new memory: the system clears allocations of more than
  32 MB every time;
- 1x1 convolutions are matrix products.

On other devices (and with `compile`) the steps use torch's own operators, so that cuDNN or the
compiler can fuse them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

Step = Callable[[Tensor], Tensor]
PART = 1 << 19  # values processed at a time: 2 MB


class FastDecoder:
    """Images `[B,3,H,W]`, about 0..1, from latents `[B,D,h,w]`; both float32, differentiable.

    `model` is a VQModel; unchanged weights are shared with it. `dtype` is the precision to compute
    in. `fused`: each block is one autograd node; by default only on a CPU.
    """

    def __init__(
        self, model: Any, dtype: torch.dtype = torch.float32, fused: bool | None = None
    ) -> None:
        decoder, device = model.decoder, model.codebook.device
        self.dtype = dtype
        self.fused = device.type == "cpu" if fused is None else fused
        with torch.no_grad():
            conv = decoder.conv_out
            # fold the conversion from taming's range -1..1 to 0..1 into the weights
            last = _Conv(conv.weight * 0.5, conv.bias * 0.5 + 0.5, dtype)
            first = _conv(model.post_quant_conv, dtype)
            self.steps: list[Step] = [first, *self._steps(decoder), last]

    def __call__(self, latent: Tensor) -> Tensor:
        x = latent.to(self.dtype).contiguous(memory_format=torch.channels_last)
        for step in self.steps:
            x = step(x)
        return x.float()

    def _steps(self, decoder: Any) -> Iterator[Step]:
        yield _conv(decoder.conv_in, self.dtype)
        middle = decoder.mid
        yield self._block(middle.block_1)
        yield _Attention(middle.attn_1, self.dtype)
        yield self._block(middle.block_2)
        for index, level in reversed(list(enumerate(decoder.up))):
            for place, block in enumerate(level.block):
                yield self._block(block)
                if len(level.attn):
                    yield _Attention(level.attn[place], self.dtype)
            if index:
                yield self._double(level.upsample)
        norm = _Norm(decoder.norm_out)
        yield (lambda x: _NormSilu.apply(x, norm)) if self.fused else norm.silu

    def _block(self, block: Any) -> Step:
        step = _Block(block, self.dtype)
        return (lambda x: _FusedBlock.apply(x, step)) if self.fused else step

    def _double(self, upsample: Any) -> Step:
        if not upsample.with_conv:
            return _repeat
        if self.fused:
            return _Doubled(upsample.conv, self.dtype)
        conv = _conv(upsample.conv, self.dtype)
        return lambda x: conv(_repeat(x))


def _repeat(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class _Conv:
    """A frozen convolution that keeps the size: 3x3, or 1x1 as a matrix product."""

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> None:
        self.weight = weight.detach().to(dtype).contiguous(memory_format=torch.channels_last)
        self.bias = bias.detach().to(dtype)
        self.pad = weight.shape[-1] // 2

    def __call__(self, x: Tensor) -> Tensor:
        if self.pad:
            return F.conv2d(x, self.weight, self.bias, padding=self.pad)
        return _unflat(F.linear(_flat(x), self.weight[:, :, 0, 0], self.bias), x)

    def back(self, grad: Tensor) -> Tensor:
        """The gradient with respect to the input."""
        if self.pad:
            return F.conv_transpose2d(grad, self.weight, padding=self.pad)
        return _unflat(_flat(grad) @ self.weight[:, :, 0, 0], grad)


def _conv(conv: Any, dtype: torch.dtype) -> _Conv:
    return _Conv(conv.weight, conv.bias, dtype)


class _Doubled:
    """Nearest-neighbour upsampling by 2 and a 3x3 convolution, as one transposed 4x4 convolution.

    An input row contributes to four output rows: the outer two use one row of the kernel, the inner
    two the sum of two rows. The same holds for columns.
    """

    def __init__(self, conv: Any, dtype: torch.dtype) -> None:
        share = conv.weight.new_tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])
        weight = torch.einsum("ti,uj,ocij->cotu", share, share, conv.weight)
        self.weight = weight.to(dtype).contiguous(memory_format=torch.channels_last)
        self.bias = conv.bias.detach().to(dtype)

    def __call__(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, self.weight, self.bias, stride=2, padding=1)


class _Norm:
    """A frozen group norm (Wu and He 2018) and SiLU, for one channels-last image at a time."""

    def __init__(self, norm: Any) -> None:
        self.weight, self.bias = norm.weight.detach().float(), norm.bias.detach().float()
        self.groups, self.eps = norm.num_groups, norm.eps

    def plain(self, x: Tensor) -> Tensor:
        """The norm only, by torch."""
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return F.group_norm(x, self.groups, weight, bias, self.eps)

    def silu(self, x: Tensor) -> Tensor:
        """Norm and SiLU, by torch."""
        return F.silu(self.plain(x))

    def measure(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and inverse standard deviation of the groups of `[N,C]`, each expanded to `[C]`."""
        # subtracting the first position avoids a loss of precision if the mean is large
        first = flat[0].float()
        total, square = torch.zeros_like(first), torch.zeros_like(first)
        for (part,) in _parts(flat):
            shifted = part - first
            total += shifted.sum(0)
            square += shifted.square_().sum(0)
        count = len(flat)
        mean = total / count
        spread = square / count - mean.square()  # of each channel
        middle = self.grouped(mean + first)
        spread = self.grouped(spread + (mean + first - middle).square())
        return middle, (spread.clamp(min=0) + self.eps).rsqrt()

    def grouped(self, values: Tensor) -> Tensor:
        """Means within each group of `[C]`, expanded to `[C]`."""
        means = values.view(self.groups, -1).mean(1, keepdim=True)
        return means.expand(-1, len(values) // self.groups).reshape(-1)

    def forward(self, flat: Tensor, stats: tuple[Tensor, Tensor], out: Tensor) -> None:
        """Write norm and SiLU of `[N,C]` to `out`, which may be `flat` itself."""
        mean, inverse = stats
        slope = inverse * self.weight
        offset = self.bias - mean * slope
        for part, target in _parts(flat, out):
            if target.dtype == torch.float32:
                F.silu(torch.addcmul(offset, part, slope, out=target), inplace=True)
            else:
                target.copy_(F.silu(torch.addcmul(offset, part.float(), slope), inplace=True))

    def backward(
        self, flat: Tensor, stats: tuple[Tensor, Tensor], grad: Tensor, more: Tensor | None = None
    ) -> None:
        """Replace `grad` `[N,C]` of the output by that of the input `flat`, plus `more`."""
        mean, inverse = stats
        slope = inverse * self.weight
        offset = self.bias - mean * slope
        total, along = torch.zeros_like(mean), torch.zeros_like(mean)
        for part, gradient in _parts(flat, grad):
            z = torch.addcmul(offset, part.float(), slope)
            grad_z = torch.ops.aten.silu_backward(gradient.float(), z)
            gradient.copy_(grad_z)
            total += grad_z.sum(0)
            along += torch.sub(part, mean, out=z).mul_(grad_z).sum(0)
        count = len(flat)
        level = self.grouped(total * self.weight) / count * inverse
        tilt = self.grouped(along * self.weight) / count * inverse.pow(3)
        shift = tilt * mean - level
        others = (flat, grad) if more is None else (flat, grad, more)
        for part, gradient, *rest in _parts(*others):
            result = gradient if gradient.dtype == torch.float32 else gradient.float()
            result.mul_(slope).addcmul_(part, tilt, value=-1).add_(shift)
            for each in rest:
                result.add_(each)
            if result is not gradient:
                gradient.copy_(result)


class _Block:
    """A residual block: norm, SiLU and 3x3, twice, plus the input or a projection of it."""

    def __init__(self, block: Any, dtype: torch.dtype) -> None:
        self.norms = _Norm(block.norm1), _Norm(block.norm2)
        self.convs = _conv(block.conv1, dtype), _conv(block.conv2, dtype)
        self.shortcut: _Conv | None = None
        if block.in_channels != block.out_channels:
            wide = block.use_conv_shortcut
            self.shortcut = _conv(block.conv_shortcut if wide else block.nin_shortcut, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        h = self.convs[0](self.norms[0].silu(x))
        h = self.convs[1](self.norms[1].silu(h))
        return h + (x if self.shortcut is None else self.shortcut(x))


class _FusedBlock(torch.autograd.Function):
    """A residual block that saves only its input and the activation between its two halves."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, block: _Block) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        first, second = block.norms
        normed = torch.empty_like(x)
        ctx.first = _norm_silu(first, x, normed)
        middle = block.convs[0](normed)
        if middle.shape != normed.shape:
            normed = torch.empty_like(middle)
        ctx.second = _norm_silu(second, middle, normed)
        result = block.convs[1](normed)
        ctx.save_for_backward(x, middle)
        ctx.block = block
        return result.add_(x if block.shortcut is None else block.shortcut(x))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        x, middle = ctx.saved_tensors
        block: _Block = ctx.block
        grad = grad.contiguous(memory_format=torch.channels_last)
        inner = _silu_norm(block.norms[1], middle, ctx.second, block.convs[1].back(grad))
        inner = block.convs[0].back(inner)
        outer = grad if block.shortcut is None else block.shortcut.back(grad)
        return _silu_norm(block.norms[0], x, ctx.first, inner, outer), None


class _NormSilu(torch.autograd.Function):
    """Norm and SiLU as one autograd node."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, norm: _Norm) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        out = torch.empty_like(x)
        ctx.stats, ctx.norm = _norm_silu(norm, x, out), norm
        ctx.save_for_backward(x)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        grad = grad.clone(memory_format=torch.channels_last)
        return _silu_norm(ctx.norm, x, ctx.stats, grad), None


Stats = list[tuple[Tensor, Tensor]]


def _norm_silu(norm: _Norm, x: Tensor, out: Tensor) -> Stats:
    """Write norm and SiLU of `x` to `out`, image by image; return the statistics of each."""
    stats = []
    for flat, target in zip(_flat(x), _flat(out), strict=True):
        stats.append(norm.measure(flat))
        norm.forward(flat, stats[-1], target)
    return stats


def _silu_norm(
    norm: _Norm, x: Tensor, stats: Stats, grad: Tensor, more: Tensor | None = None
) -> Tensor:
    """The backward pass of `_norm_silu`; `grad` may be changed in place."""
    grad = grad.contiguous(memory_format=torch.channels_last)
    others = [None] * len(x) if more is None else _flat(more)
    for flat, stat, gradient, other in zip(_flat(x), stats, _flat(grad), others, strict=True):
        norm.backward(flat, stat, gradient, other)
    return grad


class _Attention:
    """Self-attention over all positions, with one head."""

    def __init__(self, block: Any, dtype: torch.dtype) -> None:
        self.norm = _Norm(block.norm)
        three = (block.q, block.k, block.v)
        weight, bias = (torch.cat([getattr(c, n) for c in three]) for n in ("weight", "bias"))
        self.qkv, self.out = _Conv(weight, bias, dtype), _conv(block.proj_out, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        query, key, value = _flat(self.qkv(self.norm.plain(x)))[:, None].chunk(3, dim=-1)
        attended = F.scaled_dot_product_attention(query, key, value)
        return x + self.out(_unflat(attended[:, 0], x))


def _flat(x: Tensor) -> Tensor:
    """`[B,C,H,W]`, channels-last, as `[B,HW,C]`, without a copy."""
    x = x.contiguous(memory_format=torch.channels_last)
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def _unflat(flat: Tensor, like: Tensor) -> Tensor:
    """`[B,HW,C]` as `[B,C,H,W]`, channels-last, with the sides of `like`."""
    return flat.unflatten(1, like.shape[-2:]).permute(0, 3, 1, 2)


def _parts(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Iterate over the rows of several `[N,C]` together, a few at a time."""
    rows = max(1, PART // tensors[0].shape[1])
    return zip(*(tensor.split(rows) for tensor in tensors), strict=True)
