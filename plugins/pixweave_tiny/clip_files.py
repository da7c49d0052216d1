"""The files of a small CLIP: weights, config, and bank of captions. Does not import torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pixweave.models.file_digest import file_digest

HERE = Path(__file__).parent
WEIGHTS = HERE / "tiny-clip.safetensors"


def config_of(weights: Path | None) -> dict[str, Any]:
    """Return the content of the .json beside the weights; None: of the embedded model.

    Raises OSError if the file does not exist, and ValueError if it is not valid JSON.
    """
    path = (weights or WEIGHTS).with_suffix(".json")
    return json.loads(path.read_text(encoding="utf-8"))


def digest(weights: Path | None) -> str:
    """Return a digest of the weights and their config; None: of the embedded model."""
    path = weights or WEIGHTS
    return file_digest(*filter(Path.is_file, (path, path.with_suffix(".json"))))


def bank(weights: Path | None) -> list[str]:
    """Return short captions, one concept each, that a prompt can be contrasted with."""
    if weights is None:
        return (HERE / "bank.txt").read_text(encoding="utf-8").split("\n")[:-1]
    return list(config_of(weights).get("bank", ()))


def find_issue(weights: Path | None) -> tuple[str, str] | None:
    """Return the problem with the files, and a fix; None if there is none."""
    if weights is None:
        if WEIGHTS.is_file():
            return None
        return "the weights of 'tiny' are missing from this installation", "reinstall pixweave"
    beside = weights.with_suffix(".json")
    try:
        config = config_of(weights)["model_cfg"]
        known = {"embed_dim", "vision_cfg", "text_cfg"} <= config.keys()
    except OSError:
        return (
            f"its config '{beside.name}' is not in the same folder",
            "keep both files of `pixweave train clip`",
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        known = False
    if not known:
        return (
            f"'{beside.name}' is not a config written by `pixweave train clip`",
            "train it again, or use the perceptor open_clip",
        )
    return None
