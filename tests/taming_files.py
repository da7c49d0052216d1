"""Files as taming-transformers' own classes write them, for tests.

`taming.models` imports Lightning and a module of its own that no longer imports with Lightning 2:
both get stand-ins while it is imported, and everything is as before afterwards.
"""

from __future__ import annotations

import os
import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
import yaml
from torch import Tensor, nn
from torch.nn import functional as F

LOSS = {"target": "taming.modules.losses.vqperceptual.DummyLoss"}
SMALL: dict[str, Any] = {
    "embed_dim": 8,
    "n_embed": 24,
    "ddconfig": {
        "double_z": False,
        "z_channels": 8,
        "resolution": 32,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 32,
        "ch_mult": [1, 1, 2],
        "num_res_blocks": 1,
        "attn_resolutions": [8],
        "dropout": 0.0,
    },
}
F16_16384: dict[str, Any] = {
    "embed_dim": 256,
    "n_embed": 16384,
    "ddconfig": {
        "double_z": False,
        "z_channels": 256,
        "resolution": 256,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 128,
        "ch_mult": [1, 1, 2, 2, 4],
        "num_res_blocks": 2,
        "attn_resolutions": [16],
        "dropout": 0.0,
    },
}
"""The config of vqgan_imagenet_f16_16384."""


class Loss(nn.Module):
    """Stands for taming's loss, whose weights its checkpoints hold too."""

    def __init__(self) -> None:
        super().__init__()
        self.discriminator = nn.Linear(2, 2)


@contextmanager
def taming_models() -> Iterator[Any]:
    """`taming.models.vqgan`, with a Lightning module that is a plain one.

    TAMING_GUMBEL names a folder with a taming that has GumbelVQ (taming-transformers-rom1504).
    """
    lightning, main = ModuleType("pytorch_lightning"), ModuleType("taming.main")
    lightning.LightningModule = nn.Module  # type: ignore[attr-defined]
    # only the loss has weights; the schedule of a Gumbel temperature has none
    made = lambda config: Loss() if config else None  # noqa: E731
    main.instantiate_from_config = made  # type: ignore[attr-defined]
    fakes = {"pytorch_lightning": lightning, "taming.main": main}
    before = {name: module for name, module in sys.modules.items() if _touched(name)}
    folder = os.environ.get("TAMING_GUMBEL")
    for name in before:
        del sys.modules[name]
    sys.modules.update(fakes)
    sys.path[:0] = [folder] if folder else []
    try:
        yield import_module("taming.models.vqgan")
    finally:
        sys.path[:] = sys.path[1:] if folder else sys.path
        for name in [name for name in sys.modules if _touched(name)]:
            del sys.modules[name]
        sys.modules.update(before)


def _touched(name: str) -> bool:
    return name.split(".")[0] in ("taming", "pytorch_lightning")


def make(params: dict[str, Any], gumbel: bool = False) -> Any:
    """A model of taming with weights drawn at random, larger than at the start of a training."""
    with taming_models() as vqgan, torch.random.fork_rng(), redirect_stdout(StringIO()):
        torch.manual_seed(5)
        if not gumbel:
            model = vqgan.VQModel(**params, lossconfig=LOSS)
        elif hasattr(vqgan, "GumbelVQ"):
            model = vqgan.GumbelVQ(**params, lossconfig=LOSS, temperature_scheduler_config={})
        else:
            model = vqgan.VQModel(**params, lossconfig=LOSS)
            model.quantize = Votes(params)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                if "quantize" in name:
                    weight.normal_()
                elif weight.ndim == 1:
                    weight.add_(torch.randn_like(weight) * 0.1)
    return model.eval().requires_grad_(False)


class Votes(nn.Module):
    """The quantiser of a Gumbel VQGAN, which the wheel `taming-transformers` 0.0.1 is without.

    A 1x1 convolution votes, the code with most votes is taken (Jang et al. 2016, at a temperature
    of 0); the names of its weights are those of taming's GumbelQuantize.
    """

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__()
        self.proj = nn.Conv2d(params["ddconfig"]["z_channels"], params["n_embed"], 1)
        self.embed = nn.Embedding(params["n_embed"], params["embed_dim"])


def decoded(model: Any, latent: Tensor) -> Tensor:
    """The picture of latents, by taming's own decode, in 0..1."""
    picture: Tensor = model.decode(latent) * 0.5 + 0.5
    return picture


def rebuilt(model: Any, image: Tensor, gumbel: bool = False) -> Tensor:
    """A picture `[B,3,H,W]`, 0..1, through taming's encoder, codes and decoder."""
    hidden = model.quant_conv(model.encoder(image * 2 - 1))
    if gumbel:
        book = model.quantize.embed.weight
        votes = F.one_hot(model.quantize.proj(hidden).argmax(1), len(book)).float()
        return decoded(model, (votes @ book).permute(0, 3, 1, 2))
    return decoded(model, model.quantize(hidden)[0])


def write(
    path: Path,
    model: Any,
    params: dict[str, Any],
    gumbel: bool = False,
    inside: bool = False,
    version: str = "",
    **more: Any,
) -> Path:
    """Write a checkpoint and beside it its .yaml; `inside` of a transformer; `more` entries."""
    if version:
        more["pytorch-lightning_version"] = version
    state = model.state_dict()
    described = {
        "target": f"taming.models.vqgan.{'GumbelVQ' if gumbel else 'VQModel'}",
        "params": {**params, "lossconfig": LOSS, "monitor": "val/rec_loss"},
    }
    if inside:
        state = {f"first_stage_model.{key}": value for key, value in state.items()}
        state |= {"transformer.head.weight": torch.ones(2, 2)}
        described = {
            "target": "taming.models.cond_transformer.Net2NetTransformer",
            "params": {
                "first_stage_config": described,
                "transformer_config": {"target": "taming.modules.transformer.mingpt.GPT"},
            },
        }
    torch.save({"state_dict": OrderedDict(state), **more}, path)
    config = {"model": {"base_learning_rate": 4.5e-06, **described}, "data": {"target": "main.X"}}
    path.with_suffix(".yaml").write_text(yaml.safe_dump(config), "utf-8")
    return path
