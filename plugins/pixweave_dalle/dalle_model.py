"""A transformer over one sequence of text and image tokens (DALL-E, Ramesh et al. 2021).

Text tokens attend to the whole text; image tokens attend to the text and to the image tokens before
them. Unlike DALL-E, this model does not predict the text tokens, since sampling never needs them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from pixweave.models.bpe_tokenizer import BpeTokenizer
from pixweave.models.transformer import Block, attend

HERE = Path(__file__).parent
WEIGHTS = HERE / "tiny-dalle.safetensors"
MERGES = HERE / "bpe.txt.gz"
"""The BPE merge list of the tokenizer, the same as that of tiny-clip."""


class Dalle(nn.Module):
    """Predicts the codes of an image from a text, row by row.

    `config` has width, layers, heads, text_width, text_length, vocab, codes (their number), rows
    and columns (of the code grid).
    """

    def __init__(self, config: dict[str, int]) -> None:
        super().__init__()
        self.config = config
        width, places = config["width"], config["rows"] * config["columns"]
        self.text_length, self.places = config["text_length"], places
        self.words = nn.Embedding(config["vocab"], config["text_width"])
        self.widen = nn.Linear(config["text_width"], width, bias=False)
        self.order = nn.Parameter(torch.randn(config["text_length"], width) * 0.02)
        self.codes = nn.Embedding(config["codes"], width)
        self.first = nn.Parameter(torch.randn(width) * 0.02)
        self.row = nn.Parameter(torch.randn(config["rows"], 1, width) * 0.02)
        self.column = nn.Parameter(torch.randn(1, config["columns"], width) * 0.02)
        self.blocks = nn.ModuleList(
            Block(width, config["heads"], 4 * width) for _ in range(config["layers"])
        )
        self.norm = nn.LayerNorm(width)
        self.tokenizer = BpeTokenizer(MERGES)
        with torch.no_grad():
            self.words.weight.normal_(0, 0.02 * (width / config["text_width"]) ** 0.5)
            self.codes.weight.normal_(0, 0.02)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Return token ids [N, text_length] int64, zero-padded."""
        return self.tokenizer(texts, self.text_length)

    def forward(self, tokens: Tensor, codes: Tensor) -> Tensor:
        """Return logits [N, P, K] of the codes [N, P] (row by row), given the texts [N, L]."""
        text = self._text(tokens)
        seen = self._mask(tokens)
        x = torch.cat([text, self._image_inputs(codes)], 1)
        for block in self.blocks:
            x = block(x, seen)
        return self._logits(x[:, text.shape[1] :])

    @torch.no_grad()
    def sample(
        self,
        texts: Sequence[str],
        rng: torch.Generator,
        temperature: float = 1.0,
        top_p: float = 0.95,
        guidance: float = 2.0,
    ) -> Tensor:
        """Return codes [N, rows, columns] int64, one image for each text.

        `guidance` moves the logits away from those without the text (classifier-free guidance, Ho
        and Salimans 2021); 1 turns it off. `top_p` samples from the most likely codes whose
        probabilities sum to it (nucleus sampling, Holtzman et al. 2019).
        """
        count = len(texts)
        tokens = self.tokenize([*texts, *[""] * count]).to(self.first.device)
        tokens = tokens[:, : int((tokens != 0).sum(1).max())]
        decoder = _CachedDecoder(self, tokens)
        codes = torch.zeros(count, self.places, dtype=torch.int64, device=tokens.device)
        x = decoder.read(
            self._text(tokens), self._mask(tokens)[..., : tokens.shape[1], : tokens.shape[1]]
        )
        for place in range(self.places):
            before = None if place == 0 else codes[:, place - 1].repeat(2)
            x = decoder.read(self._input_at(place, before, 2 * count))
            conditional, unconditional = self._logits(x[:, -1]).float().chunk(2)
            logits = unconditional + guidance * (conditional - unconditional)
            codes[:, place] = draw(logits / max(temperature, 1e-6), top_p, rng)
        return codes.view(count, self.config["rows"], self.config["columns"])

    def _text(self, tokens: Tensor) -> Tensor:
        return self.widen(self.words(tokens)) + self.order[: tokens.shape[1]]

    def _image_inputs(self, codes: Tensor) -> Tensor:
        """Return the input at each position: the embedding of the previous code plus position."""
        before = self.codes(codes[:, :-1])
        first = self.first.to(before.dtype).expand(len(codes), 1, -1)
        return torch.cat([first, before], 1) + (self.row + self.column).flatten(0, 1)

    def _input_at(self, place: int, before: Tensor | None, count: int) -> Tensor:
        x = self.first.expand(count, -1) if before is None else self.codes(before)
        where = (self.row + self.column).flatten(0, 1)[place]
        return (x + where)[:, None]

    def _mask(self, tokens: Tensor) -> Tensor:
        """Return the attention mask [N,1,T,T]: 0 where a token may attend, -inf elsewhere."""
        length = tokens.shape[1]
        total = length + self.places
        later = torch.ones(total, total, dtype=torch.bool, device=tokens.device).triu(1)
        later[:length, :length] = False
        hidden = later.expand(len(tokens), 1, total, total).clone()
        hidden[..., :length] |= (tokens == 0)[:, None, None]
        return torch.zeros(hidden.shape, device=tokens.device).masked_fill_(hidden, -torch.inf)

    def _logits(self, x: Tensor) -> Tensor:
        return F.linear(self.norm(x), self.codes.weight)


class _CachedDecoder:
    """Reads tokens step by step, with the keys and values of earlier tokens cached."""

    def __init__(self, model: Dalle, tokens: Tensor) -> None:
        self.blocks = model.blocks
        self.padding = (tokens == 0)[:, None, None]
        self.past: list[tuple[Tensor, Tensor] | None] = [None] * len(self.blocks)

    def read(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the outputs [N,Q,W] of the next inputs [N,Q,W]."""
        for index, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            attn = block.attn
            projected = F.linear(block.ln_1(x), attn.in_proj_weight, attn.in_proj_bias)
            query, key, value = projected.chunk(3, dim=-1)
            past = self.past[index]
            if past is not None:
                key, value = torch.cat([past[0], key], 1), torch.cat([past[1], value], 1)
            self.past[index] = key, value
            hidden = mask
            if mask is None:
                after = key.shape[1] - self.padding.shape[-1]
                blank = F.pad(self.padding, (0, after))
                hidden = torch.zeros(blank.shape, device=x.device).masked_fill(blank, -torch.inf)
            x = x + attn.out_proj(attend(query, key, value, attn.heads, hidden))
            x = x + block.mlp["c_proj"](F.gelu(block.mlp["c_fc"](block.ln_2(x))))
        return x


def draw(logits: Tensor, top_p: float, rng: torch.Generator) -> Tensor:
    """Sample one index [N] from each row of logits [N,K], by nucleus sampling with `top_p`."""
    shares, order = logits.softmax(-1).sort(-1, descending=True)
    kept = shares.cumsum(-1) - shares < top_p
    kept[:, 0] = True  # always keep the most likely
    shares = (shares * kept).cpu()
    sampled = torch.multinomial(shares, 1, generator=rng)
    return order.gather(1, sampled.to(order.device))[:, 0]


def load_dalle(path: Path = WEIGHTS) -> Dalle:
    """Return a model that `pixweave train dalle` wrote to `path`: frozen, float32, eval mode."""
    with safe_open(path, "pt") as file:
        config: dict[str, Any] = json.loads((file.metadata() or {})["config"])
    model = Dalle(config)
    model.load_state_dict({key: value.float() for key, value in load_file(path).items()})
    return model.eval().requires_grad_(False)
