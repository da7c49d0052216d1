"""open_clip's published weights: downloaded by open_clip to its cache, as open_clip:MODEL/TAG."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pixweave.errors import MissingError, did_you_mean, nearest_name

PREFIX = "open_clip:"


def names() -> list[str]:
    """All models and tags that open_clip lists; this imports torch, which takes seconds."""
    pretrained = _library()
    return [f"{PREFIX}{model}/{tag}" for model, tag in pretrained.list_pretrained()]


def path(name: str) -> Path:
    """The weights file in the cache; MissingError if it does not exist."""
    from huggingface_hub import try_to_load_from_cache

    config = _config(name)
    repo, _, file = str(config.get("hf_hub") or "").rpartition("/")
    if repo:
        for candidate in _candidates(file):
            found = try_to_load_from_cache(repo, candidate)
            if isinstance(found, str):
                return Path(found)
    elif config.get("url"):
        old = Path("~/.cache/clip").expanduser() / Path(config["url"]).name
        if old.is_file():
            return old
    raise MissingError(
        f"the model '{name}' is not on this machine; run `pixweave models get {name}`"
    )


def get(name: str, offline: str) -> Path:
    """The weights file, downloaded by open_clip if necessary; MissingError if that fails."""
    config = _config(name)
    if offline:
        try:
            return path(name)
        except MissingError:
            raise MissingError(
                f"the model '{name}' is not on this machine, and the network is disabled by "
                f"{offline}; run `pixweave models get {name}` without it"
            ) from None
    try:
        return Path(_library().download_pretrained(config))
    except Exception as error:  # network libraries raise many kinds of errors
        source = config.get("hf_hub") or config.get("url")
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise MissingError(
            f"the model '{name}' could not be downloaded from {source}: {reason}; try again later"
        ) from None


def expected(file: Path) -> str:
    """The sha256 of a file according to the hub's cache, or ''."""
    blob = file.resolve().name
    return blob if re.fullmatch("[0-9a-f]{64}", blob) else ""


def _candidates(file: str) -> list[str]:
    """The file names that open_clip looks for, safetensors first."""
    from open_clip import constants

    file = file or constants.HF_WEIGHTS_NAME
    if file == constants.HF_WEIGHTS_NAME:
        return [constants.HF_SAFE_WEIGHTS_NAME, file]
    stem, dot, end = file.rpartition(".")
    return [f"{stem}.safetensors", file] if dot and end in ("bin", "pth") else [file]


def _config(name: str) -> dict[str, Any]:
    """open_clip's configuration of a tag; MissingError with the nearest name if unknown."""
    model, _, tag = name.removeprefix(PREFIX).rpartition("/")
    library = _library()
    found = library.get_pretrained_cfg(model, tag) if model else {}
    if not found:
        tags = library.list_pretrained_tags_by_model(model)
        known = [f"{PREFIX}{model}/{tag}" for tag in tags] or names()
        raise MissingError(
            f"open_clip has no model '{name.removeprefix(PREFIX)}'; {_near(name, known)}"
        )
    return dict(found)


def _near(name: str, known: list[str]) -> str:
    if nearest_name(name, known) or len(known) <= 8:
        return did_you_mean(name, known)
    return "`pixweave models ls open_clip:` lists them"


def _library() -> Any:
    from open_clip import pretrained

    return pretrained
