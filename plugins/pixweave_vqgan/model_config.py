"""The architecture of a VQGAN, read from a .yaml of taming-transformers; does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pixweave.errors import MissingError, RunError

VQ = "taming.models.vqgan.VQModel"
GUMBEL = "taming.models.vqgan.GumbelVQ"
TRANSFORMER = "taming.models.cond_transformer.Net2NetTransformer"

_LAYERS = {
    "ch",
    "ch_mult",
    "num_res_blocks",
    "attn_resolutions",
    "in_channels",
    "out_ch",
    "resolution",
    "z_channels",
}


@dataclass(frozen=True)
class Config:
    """The config of a VQGAN.

    `params` are taming's: embed_dim, n_embed and ddconfig; `gumbel`: its quantiser is taming's
    GumbelQuantize; `prefix`: the prefix of its weights' names inside a transformer checkpoint.
    """

    path: Path
    params: dict[str, Any]
    gumbel: bool = False
    prefix: str = ""

    @property
    def factor(self) -> int:
        """Pixels per code."""
        return int(2 ** (len(self.params["ddconfig"]["ch_mult"]) - 1))


def read_config(path: Path) -> Config:
    """Read a config of taming's VQModel, of GumbelVQ, or of a transformer over one of them.

    Raises MissingError if the file does not exist, and RunError if it is not such a config.
    """
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
        model = content["model"]
        prefix = ""
        if model["target"] == TRANSFORMER:
            model, prefix = model["params"]["first_stage_config"], "first_stage_model."
        target, params = model["target"], dict(model["params"])
    except FileNotFoundError:
        raise MissingError(f"there is no config '{path}'") from None
    except (OSError, ValueError, yaml.YAMLError, LookupError, TypeError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
        raise RunError(f"'{path}' is not a config of taming-transformers: {reason}") from None
    if target not in (VQ, GUMBEL):
        raise RunError(
            f"'{path}' describes a {target}; supported are {VQ}, {GUMBEL}, and "
            f"{TRANSFORMER} over one of them"
        )
    _check(path, params)
    return Config(path, params, target == GUMBEL, prefix)


def _check(path: Path, params: dict[str, Any]) -> None:
    layers = params.get("ddconfig")
    if not isinstance(layers, dict):
        raise RunError(f"'{path}' is not a config of taming-transformers: lacks 'ddconfig'")
    for names, found in (({"embed_dim", "n_embed"}, params), (_LAYERS, layers)):
        if missing := sorted(names - found.keys()):
            raise RunError(f"'{path}' is not a config of taming-transformers: lacks '{missing[0]}'")
    if (layers["in_channels"], layers["out_ch"]) != (3, 3):
        raise RunError(f"'{path}' describes images of {layers['in_channels']} channels, not of 3")
    if params.get("remap"):
        raise RunError(f"'{path}' remaps its codes (remap), which is not supported")
