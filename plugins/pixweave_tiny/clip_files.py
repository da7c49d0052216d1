"""The files of a small CLIP: weights, config beside them, bank of captions. No torch here."""

from __future__ import annotations

import functools
import hashlib
import json
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
WEIGHTS = HERE / "tiny-clip.safetensors"


def config_of(weights: Path | None) -> dict[str, Any]:
    """Return what stands in the .json beside the weights; None: of the embedded model.

    Raises OSError if it is not there and ValueError if it is no JSON.
    """
    path = (weights or WEIGHTS).with_suffix(".json")
    return json.loads(path.read_text(encoding="utf-8"))


def digest(weights: Path | None) -> str:
    """Return a text that is equal for equal weights and config."""
    path = weights or WEIGHTS
    files = (path, path.with_suffix(".json"))
    return _digest(tuple((file, *_stamp(file)) for file in files))


@functools.lru_cache
def _digest(files: tuple[tuple[Path, int, int], ...]) -> str:
    made = hashlib.sha256()
    for file, size, _ in files:
        made.update(file.read_bytes() if size >= 0 else b"")
    return made.hexdigest()[:16]


def _stamp(file: Path) -> tuple[int, int]:
    """Size and time of change of a file; a size below 0: there is none."""
    try:
        found = file.stat()
    except OSError:
        return -1, 0
    return found.st_size, found.st_mtime_ns


def bank(weights: Path | None) -> list[str]:
    """Return the short captions that a prompt can be weighed against, one concept each."""
    if weights is None:
        return (HERE / "bank.txt").read_text(encoding="utf-8").split("\n")[:-1]
    return list(config_of(weights).get("bank", ()))


def complaint(weights: Path | None) -> tuple[str, str] | None:
    """Return what is wrong with the files, and a remedy; None: nothing."""
    if weights is None:
        if WEIGHTS.is_file():
            return None
        return "the weights of 'tiny' are not in this installation", "reinstall pixweave"
    beside = weights.with_suffix(".json")
    try:
        config = config_of(weights)["model_cfg"]
        known = {"embed_dim", "vision_cfg", "text_cfg"} <= config.keys()
    except OSError:
        return (
            f"its config '{beside.name}' is not beside it",
            "keep both files of `pixweave train clip`",
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        known = False
    if not known:
        return (
            f"'{beside.name}' is no config of `pixweave train clip`",
            "train it again, or use open_clip",
        )
    return None
