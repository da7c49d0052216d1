"""The embedded CLIP: open_clip's architecture and weights format, rebuilt in plain torch.

The weights also load in open_clip itself (``tiny-clip.json`` is its model config). This copy exists
because importing open_clip takes seconds. The modules follow VisionTransformer and TextTransformer
of open_clip (MIT), key for key.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from pixweave.models.bpe_tokenizer import BpeTokenizer
from pixweave.models.transformer import Block, attend

HERE = Path(__file__).parent
CONFIG = HERE / "tiny-clip.json"
WEIGHTS = HERE / "tiny-clip.safetensors"


def load_tiny_clip(path: Path | None = None, text_only: bool = False) -> TinyClip:
    """Return a small CLIP, by default the embedded one: frozen, float32, eval mode.

    ``path``: other weights, as written by `pixweave train clip`, with their config beside them (the
    same name with .json; without it, the architecture must be that of the embedded model). With
    ``text_only`` it has no image tower.
    """
    beside = path.with_suffix(".json") if path else CONFIG
    config = beside if beside.is_file() else CONFIG
    model = TinyClip(json.loads(config.read_text(encoding="utf-8"))["model_cfg"], text_only)
    weights = load_file(path or WEIGHTS)
    if text_only:
        weights = {k: v for k, v in weights.items() if not k.startswith("visual.")}
    model.load_state_dict(
        {k: v.float() if v.is_floating_point() else v for k, v in weights.items()}
    )
    return model.eval().requires_grad_(False)


class TinyClip(nn.Module):
    """A CLIP for small images: unit vectors for 0..1 RGB images and for texts."""

    def __init__(self, config: dict[str, Any], text_only: bool = False) -> None:
        super().__init__()
        self.config = config
        vision, text = config["vision_cfg"], config["text_cfg"]
        self.image_size: int = vision["image_size"]
        self.embed_dim: int = config["embed_dim"]
        self.context_length: int = text["context_length"]
        tower = ResNetTower if isinstance(vision["layers"], list) else ImageTower
        self.visual: Any = None if text_only else tower(vision, self.embed_dim)
        width = text["width"]
        self.transformer = Layers(width, text["layers"], text["heads"], 4 * width, causal=True)
        self.token_embedding = nn.Embedding(text["vocab_size"], width)
        self.positional_embedding = nn.Parameter(torch.zeros(self.context_length, width))
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(torch.zeros(width, self.embed_dim))
        self.log_scale = nn.Parameter(torch.tensor(2.66))
        bpe = Path(text["tokenizer_kwargs"]["bpe_path"])
        self.tokenizer = BpeTokenizer(bpe if bpe.is_file() else HERE / bpe.name)
        self._register_load_state_dict_pre_hook(_rename_scale)

    @property
    def logit_scale(self) -> float:
        """The factor on cosines (inverse temperature) that the model was trained with."""
        return float(self.log_scale.detach().exp())

    def encode_image(self, crops: Tensor) -> Tensor:
        """Return unit vectors [N,D] for ``crops`` [N,3,S,S], RGB 0..1, S = ``image_size``."""
        return F.normalize(self.visual(crops), dim=-1)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """Return unit vectors [P,D] for ``texts``; text beyond the context length is cut."""
        return self.encode_tokens(self.tokenize(texts).to(self.text_projection.device))

    def encode_tokens(self, tokens: Tensor) -> Tensor:
        """Return unit vectors [P,D] for ``tokens`` [P,L], L up to ``context_length``."""
        x = self.token_embedding(tokens) + self.positional_embedding[: tokens.shape[1]]
        x = self.ln_final(self.transformer(x))
        last = x[torch.arange(len(x)), tokens.argmax(dim=-1)]  # the end token has the highest id
        return F.normalize(last @ self.text_projection, dim=-1)

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Return token ids [P, ``context_length``] int64, zero-padded."""
        return self.tokenizer(texts, self.context_length)

    def overflow(self, text: str) -> str:
        """Return the part of ``text`` beyond the context length; '' if all fits."""
        return self.tokenizer.overflow(text, self.context_length)


def _rename_scale(state: dict[str, Tensor], prefix: str, *_: object) -> None:
    if prefix + "logit_scale" in state:  # open_clip's key; here that name is the plain factor
        state[prefix + "log_scale"] = state.pop(prefix + "logit_scale")


class ImageTower(nn.Module):
    """A small vision transformer: raw features [N,D] of images [N,3,S,S]."""

    def __init__(self, vision: dict[str, Any], out: int) -> None:
        super().__init__()
        width, patch = vision["width"], vision["patch_size"]
        places = (vision["image_size"] // patch) ** 2 + 1
        self.conv1 = nn.Conv2d(3, width, patch, stride=patch, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width) * width**-0.5)
        self.positional_embedding = nn.Parameter(torch.randn(places, width) * width**-0.5)
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.transformer = Layers(
            width, vision["layers"], width // vision["head_width"], int(width * vision["mlp_ratio"])
        )
        self.proj = nn.Parameter(torch.randn(width, out) * width**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x).flatten(2).transpose(1, 2)
        first = self.class_embedding.to(x.dtype).expand(len(x), 1, -1)
        x = torch.cat([first, x], dim=1) + self.positional_embedding.to(x.dtype)
        x = self.ln_post(self.transformer(self.ln_pre(x)))
        return x[:, 1:].mean(1) @ self.proj


class ResNetTower(nn.Module):
    """A small version of CLIP's ResNet: raw features [N,D] of images [N,3,S,S], S >= 32.

    The modules follow ModifiedResNet of open_clip (MIT), key for key: a stem of three convolutions,
    average pooling before every stride (against aliasing), attention pooling at the end.
    """

    def __init__(self, vision: dict[str, Any], out: int) -> None:
        super().__init__()
        width, heads = vision["width"], vision["width"] * 32 // vision["head_width"]
        self.layer1: nn.Module
        self.layer2: nn.Module
        self.layer3: nn.Module
        self.layer4: nn.Module
        self.conv1 = nn.Conv2d(3, width // 2, 3, stride=2, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(width // 2), nn.BatchNorm2d(width // 2)
        self.bn3 = nn.BatchNorm2d(width)
        before = width
        for index, depth in enumerate(vision["layers"]):
            blocks = []
            for place in range(depth):
                stride = 2 if index and not place else 1
                blocks.append(Bottleneck(before, width * 2**index, stride))
                before = width * 2**index * 4
            setattr(self, f"layer{index + 1}", nn.Sequential(*blocks))
        self.attnpool = AttentionPool((vision["image_size"] // 32) ** 2, before, heads, out)
        self.to(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        *_, x = self.maps(x)
        return self.attnpool(x)

    def maps(self, x: Tensor) -> Iterator[Tensor]:
        """Yield the four feature maps, [N,4W,S/4,S/4] to [N,32W,S/32,S/32], W = the width."""
        x = x.contiguous(memory_format=torch.channels_last)
        for conv, norm in ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3)):
            x = F.relu(norm(conv(x)))
        x = F.avg_pool2d(x, 2)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            yield x


class Bottleneck(nn.Module):
    """A residual block [N,C,H,W] -> [N,4W,H/stride,W/stride]."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.conv1 = nn.Conv2d(before, width, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.conv3 = nn.Conv2d(width, width * 4, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.bn3 = nn.BatchNorm2d(width * 4)
        self.downsample: nn.ModuleDict | None = None
        if stride > 1 or before != width * 4:
            self.downsample = nn.ModuleDict(
                {"0": nn.Conv2d(before, width * 4, 1, bias=False), "1": nn.BatchNorm2d(width * 4)}
            )

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        if self.stride > 1:
            x, y = F.avg_pool2d(x, self.stride), F.avg_pool2d(y, self.stride)
        y = self.bn3(self.conv3(y))
        if self.downsample is not None:
            x = self.downsample["1"](self.downsample["0"](x))
        return F.relu(x + y)


class AttentionPool(nn.Module):
    """Attention pooling with the mean as the query: [N,C,H,W] -> [N,D]."""

    def __init__(self, places: int, width: int, heads: int, out: int) -> None:
        super().__init__()
        self.heads = heads
        self.positional_embedding = nn.Parameter(torch.randn(places + 1, width) * width**-0.5)
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.c_proj = nn.Linear(width, width), nn.Linear(width, out)

    def forward(self, x: Tensor) -> Tensor:
        place: Tensor = self.positional_embedding
        if len(place) != x.shape[2] * x.shape[3] + 1:  # another image size than its own
            side = math.isqrt(len(place) - 1)
            grid = place[1:].T.reshape(1, -1, side, side)
            grid = F.interpolate(grid, size=x.shape[2:], mode="area")
            place = torch.cat([place[:1], grid.flatten(2)[0].T])
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([x.mean(1, keepdim=True), x], dim=1) + place.to(x.dtype)
        y = attend(self.q_proj(x[:, :1]), self.k_proj(x), self.v_proj(x), self.heads)
        return self.c_proj(y).flatten(1)


class Layers(nn.Module):
    """Pre-norm transformer blocks [N,L,W] -> [N,L,W]; ``causal``: with a causal mask."""

    def __init__(
        self, width: int, layers: int, heads: int, hidden: int, causal: bool = False
    ) -> None:
        super().__init__()
        self.causal = causal
        self.resblocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        mask = None
        if self.causal:
            mask = torch.full((x.shape[1], x.shape[1]), float("-inf"), device=x.device).triu(1)
        for block in self.resblocks:
            x = block(x, mask)
        return x

    def last(self) -> Iterator[nn.Linear]:
        """Yield the linear layers whose output is added to the residual stream."""
        for block in self.resblocks:
            assert isinstance(block, Block)
            yield block.attn.out_proj
            output = block.mlp["c_proj"]
            assert isinstance(output, nn.Linear)
            yield output
