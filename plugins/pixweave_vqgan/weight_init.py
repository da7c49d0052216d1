"""The architecture and initial weights of a new VQGAN."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from taming.modules.diffusionmodules.model import AttnBlock, Downsample, ResnetBlock, Upsample
from torch import Tensor, nn

from pixweave_vqgan.vqgan_model import VQModel

if TYPE_CHECKING:
    from pixweave_vqgan.vqgan_settings import VqganTrainer

OFFSET = 2.0


@torch.no_grad()
def initialise(model: VQModel) -> None:
    """Initialise so that plain colours pass through taming's norms, whatever the width.

    A norm of 32 groups over 64 channels has two channels in each group: of a plain image only two
    signs are left. A constant offset, positive in one channel and negative in the other, that is
    larger than the signal makes the norm nearly linear; the next layer removes it.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.mul_(math.sqrt(3))  # keeps the deviation; torch's own is for ReLU
        if isinstance(module, nn.GroupNorm):
            module.weight.fill_(OFFSET)
            module.bias.copy_(-OFFSET * _signs(len(module.bias)))
    for half in (model.encoder, model.decoder):
        for block in half.modules():
            if isinstance(block, ResnetBlock):
                block.conv1.bias.copy_(OFFSET * _signs(len(block.conv1.bias)))
                block.conv2.weight.mul_(0.5)
                if hasattr(block, "nin_shortcut"):
                    _offset(block.nin_shortcut)
            elif isinstance(block, Downsample | Upsample):
                _offset(block.conv)
            elif isinstance(block, AttnBlock):
                block.proj_out.weight.mul_(0.5)
        _offset(half.conv_in)


def _offset(conv: nn.Conv2d) -> None:
    """Make a layer add the offset to its output, and ignore the one in its input."""
    if conv.in_channels % 2 == 0:
        signs = _signs(conv.in_channels)[None, :, None, None]
        conv.weight.sub_((conv.weight * signs).mean(1, keepdim=True) * signs)
    conv.bias.copy_(OFFSET * _signs(conv.out_channels))  # type: ignore[union-attr]


def _signs(count: int) -> Tensor:
    """`[count]` of 1, -1, 1, -1..."""
    return 1.0 - 2.0 * (torch.arange(count) % 2)


def architecture(settings: VqganTrainer) -> dict[str, Any]:
    """Return taming's `params` for the settings."""
    return {
        "embed_dim": settings.dim,
        "n_embed": settings.codes,
        "ddconfig": {
            "double_z": False,
            "z_channels": settings.dim,
            "resolution": settings.size,
            "in_channels": 3,
            "out_ch": 3,
            "ch": settings.channels,
            "ch_mult": list(settings.multiples),
            "num_res_blocks": settings.blocks,
            "attn_resolutions": [],
            "dropout": 0.0,
        },
    }
