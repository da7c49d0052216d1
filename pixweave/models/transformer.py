"""The transformer block shared by several models; state-dict keys as in open_clip."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Block(nn.Module):
    """A pre-norm block of attention and a two-layer MLP: `[N,L,W]` -> `[N,L,W]`."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = SelfAttention(width, heads)
        self.mlp = nn.ModuleDict(
            {"c_fc": nn.Linear(width, hidden), "c_proj": nn.Linear(hidden, width)}
        )

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """`mask` is added to the logits: 0 where attention is allowed, else -inf."""
        x = x + self.attn(self.ln_1(x), mask)
        return x + self.mlp["c_proj"](F.gelu(self.mlp["c_fc"](self.ln_2(x))))


class SelfAttention(nn.Module):
    """Multi-head self-attention, restricted by an optional mask."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.randn(3 * width, width) * width**-0.5)
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """`mask` is added to the logits: 0 where attention is allowed, else -inf."""
        query, key, value = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        return self.out_proj(attend(query, key, value, self.heads, mask))


def attend(
    query: Tensor, key: Tensor, value: Tensor, heads: int, mask: Tensor | None = None
) -> Tensor:
    """softmax(query key' / sqrt(d)) value: `[N,Q,C]`, `[N,L,C]`, `[N,L,C]` -> `[N,Q,C]`."""
    # not scaled_dot_product_attention, which cannot be differentiated twice
    query, key, value = (t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (query, key, value))
    scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
    if mask is not None:
        scores = scores + mask.to(scores.dtype)
    return (scores.softmax(dim=-1).to(value.dtype) @ value).transpose(1, 2).flatten(2)
