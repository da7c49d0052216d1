"""The architecture and initial weights of a new CLIP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from pixweave_tiny.clip_model import Layers, TinyClip

if TYPE_CHECKING:
    from pixweave_tiny.clip_settings import Clip


def architecture(settings: Clip) -> dict[str, Any]:
    """Return open_clip's `model_cfg` for the settings."""
    size = settings.image_size
    vision: dict[str, Any] = {
        "image_size": size,
        "layers": [2, 2, 2, 2],
        "width": 24,
        "head_width": 128,
    }
    if settings.tower == "vit":
        vision = {
            "image_size": size,
            "patch_size": 8,
            "layers": 4,
            "width": 160,
            "head_width": 32,
            "mlp_ratio": 3.0,
            "pool_type": "avg",
        }
    text = {
        "context_length": 24,
        "vocab_size": 3514,
        "width": 128,
        "heads": 4,
        "layers": 2,
        "tokenizer_kwargs": {"bpe_path": "bpe.txt.gz"},
    }
    return {"embed_dim": 192, "vision_cfg": vision, "text_cfg": text}


def initialise(model: TinyClip) -> None:
    """Initialise the weights as CLIP does: small embeddings, small residual branches."""
    with torch.no_grad():
        model.token_embedding.weight.normal_(0, 0.02)
        model.positional_embedding.normal_(0, 0.01)
        model.text_projection.normal_(0, model.text_projection.shape[0] ** -0.5)
        for stack in model.modules():
            if isinstance(stack, Layers):
                for linear in stack.last():
                    linear.weight.normal_(
                        0, (linear.in_features * 2 * len(stack.resblocks)) ** -0.5
                    )
        for name, weight in model.visual.named_parameters():
            if name.endswith("bn3.weight") and "layer" in name:
                weight.zero_()  # every residual block starts as the identity
