"""Find, read (as data only) and load weights of open_clip models, with clear errors."""

from __future__ import annotations

import logging
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip import factory, pretrained
from torch import Tensor, nn

from pixweave.errors import MissingError, RunError
from pixweave.recipe.paths import nearest, resolve
from pixweave_openclip import model_names as names

IMAGE = "visual."
"""Name prefix of the image tower's tensors."""


def load(model: str, weights: str | None, text_only: bool = False) -> nn.Module:
    """The open_clip model with its weights: on the CPU, float32, frozen.

    `model` and `weights` are the settings `model` and `pretrained`. With `text_only` the image
    tower is neither built nor read, except for its `image_size`. Random weights are the same each
    time. Raises MissingError if the weights do not exist, and RunError if a file is not valid.
    """
    # random weights of both towers come from one random stream
    text_only = text_only and weights != names.RANDOM
    config: dict[str, Any] = {}
    path: Path | None
    if model.startswith(names.HUB):
        path = _from_hub(model)
    elif model.startswith(names.FOLDER):
        folder = names.bundle_folder(model)
        model = f"{names.FOLDER}{folder}"
        path = _in_folder(folder)
    elif weights == names.RANDOM:
        path = None
    else:
        path, config = _named(model.replace("/", "-"), weights)
    skip = IMAGE if text_only else ""
    state = None if path is None else read(path, skip)  # before the model: errors show early
    tower = _no_image_tower() if text_only else nullcontext()
    with _quiet(), tower, torch.random.fork_rng([]):
        torch.default_generator.manual_seed(0)
        instance: nn.Module = factory.create_model(
            model,
            load_weights=False,
            pretrained_text=False,  # would be downloaded, then overwritten
            force_quick_gelu=bool(config.get("quick_gelu")),
            force_preprocess_cfg={k: config[k] for k in ("mean", "std") if k in config},
        )
        if path is not None and state is not None:
            _fit(instance, state, f"the weights {_short(path)}", model, skip)
    return instance.eval().requires_grad_(False)


class _NoTower(nn.Module):
    """A placeholder for the image tower that has only its image size."""

    def __init__(self, _: int, vision_cfg: Any, *__: Any) -> None:
        super().__init__()
        size = getattr(vision_cfg, "image_size", None) or vision_cfg["image_size"]
        self.image_size = size if isinstance(size, (tuple, list)) else (size, size)


@contextmanager
def _no_image_tower() -> Iterator[None]:
    """Make open_clip build CLIPs without an image tower; CoCa, built differently, keeps it."""
    before = open_clip.model._build_vision_tower
    open_clip.model._build_vision_tower = _NoTower
    try:
        yield
    finally:
        open_clip.model._build_vision_tower = before


def read(path: Path, skip: str = "") -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of a .pt file with a state dict and no code.

    Tensors whose name begins with `skip` may be left out. Raises MissingError if the file does not
    exist, and RunError if it is not valid.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors import SafetensorError, safe_open

            try:
                with safe_open(path, "pt") as file:
                    keys = file.keys()
                    kept = [key for key in keys if not skip or not key.startswith(skip)]
                    return {key: file.get_tensor(key) for key in kept}
            except SafetensorError as error:
                raise RunError(f"{_short(path)} is not a safetensors file: {error}") from None
        with warnings.catch_warnings():  # torch warns about old formats before it refuses them
            warnings.simplefilter("ignore")
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise MissingError(f"file {_short(path)} not found; {nearest(path)}") from None
    except pickle.UnpicklingError as error:
        raise RunError(_refusal(path, str(error))) from None
    except (RuntimeError, EOFError, ValueError) as error:
        first = str(error).split("\n", 1)[0] or "unexpected end of file"
        if "TorchScript" in first:
            raise RunError(
                f"{_short(path)} is a TorchScript archive, which contains code; use the "
                "same weights as .safetensors"
            ) from None
        raise RunError(f"{_short(path)} is not a weights file: {first}") from None
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]  # a training checkpoint of open_clip
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise RunError(f"{_short(path)} contains no state dict of tensors")
    return {str(key).removeprefix("module."): value for key, value in content.items()}


def _refusal(path: Path, error: str) -> str:
    if found := re.search(r"GLOBAL (\S+)", error):
        return (
            f"{_short(path)} contains more than weights ({found[1]}); no code in it was run; "
            "use the same weights as .safetensors"
        )
    return f"{_short(path)} is not a weights file: neither safetensors nor a state dict"


def _named(model: str, weights: str | None) -> tuple[Path, dict[str, Any]]:
    """The weights file of a tag or path, and open_clip's config of such weights."""
    if weights is None:
        raise MissingError(f"the model '{model}' needs weights; set pretrained")
    config = pretrained.get_pretrained_cfg(model, weights)
    if config and not names.is_file_name(weights):
        return _from_tag(model, weights, config), config
    path = resolve(weights)
    if not path.is_file():
        hint = names.near(weights, pretrained.list_pretrained_tags_by_model(model))
        raise MissingError(
            f"'{weights}' is neither a weights tag of {model} nor a file"
            + (f"; {hint}" if hint else "")
        )
    return path, _pixels(model)


def _pixels(model: str) -> dict[str, Any]:
    """Mean and std of the pixels, if all published weights of the architecture agree on them."""
    tags = pretrained.list_pretrained_tags_by_model(model)
    known = [pretrained.get_pretrained_cfg(model, tag) for tag in tags]
    pairs = {(tuple(c["mean"]), tuple(c["std"])) for c in known if "mean" in c and "std" in c}
    if len(pairs) != 1:
        return {}
    mean, std = pairs.pop()
    return {"mean": mean, "std": std}


def _from_tag(model: str, tag: str, config: dict[str, Any]) -> Path:
    source = config.get("hf_hub", "").rstrip("/") or Path(config.get("url", "")).name
    try:
        with _quiet():
            found = pretrained.download_pretrained(config)
    except Exception as error:  # whatever the network and its libraries raise
        raise MissingError(_not_available(f"'{tag}' of {model}", source, error)) from None
    return Path(found)


def _from_hub(model: str) -> Path:
    name = model[len(names.HUB) :]
    try:
        with _quiet():
            return Path(pretrained.download_pretrained_from_hf(name))
    except Exception as error:
        raise MissingError(_not_available(f"of '{model}'", name, error)) from None


def _not_available(what: str, source: str, error: Exception) -> str:
    return (
        f"the weights {what} are not on this machine and could not be downloaded "
        f"({type(error).__name__}); run once with a network, or copy the file from {source} and "
        "set pretrained: FILE.safetensors, a path relative to the recipe"
    )


def _in_folder(folder: Path) -> Path:
    with _quiet():
        found = factory._find_checkpoint_in_dir(folder)
    if found is None:
        kinds = ".safetensors, .bin, .pth"
        raise MissingError(f"the folder {_short(folder)} contains no weights ({kinds})")
    return Path(found)


def _fit(model: Any, state: dict[str, Tensor], what: str, name: str, skip: str = "") -> None:
    """Load a state dict as open_clip does, including older formats.

    Raises a RunError that names the keys that do not match.
    """
    state = factory.convert_state_dict(model, state)
    if "positional_embedding" in state and not hasattr(model, "positional_embedding"):
        state = factory.convert_to_custom_text_state_dict(state)
    for scalar in ("logit_scale", "logit_bias"):
        own = getattr(model, scalar, None)
        if own is not None and scalar in state and state[scalar].numel() == 1:
            state[scalar] = state[scalar].reshape(own.shape)
    if getattr(model, "logit_bias", None) is not None and "logit_bias" not in state:
        state["logit_bias"] = torch.zeros_like(model.logit_bias)
    state.pop("text.transformer.embeddings.position_ids", None)
    for extra in ("input_resolution", "context_length", "vocab_size"):  # in OpenAI's own files
        state.pop(extra, None)
    expected = {
        key: own for key, own in model.state_dict().items() if not skip or not key.startswith(skip)
    }
    state = {key: own for key, own in state.items() if not skip or not key.startswith(skip)}
    problems = [
        _listed("lacks", [key for key in expected if key not in state]),
        _listed("has the unexpected", [key for key in state if key not in expected]),
    ]
    if not any(problems):
        factory.resize_pos_embed(state, model)
        factory.resize_text_pos_embed(state, model)
        problems.append(_shapes(state, expected))
    if any(problems):
        found = "; it ".join(problem for problem in problems if problem)
        raise RunError(f"{what} do not fit {name}: the file {found}")
    model.load_state_dict(state, strict=not skip)


def _listed(verb: str, keys: list[str]) -> str:
    if not keys:
        return ""
    rest = len(keys) - 3
    more = f" and {rest} more" if rest > 0 else ""
    return f"{verb} {', '.join(keys[:3])}{more}"


def _shapes(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> str:
    wrong = [
        f"{key} {_size(state[key])} instead of {_size(own)}"
        for key, own in expected.items()
        if state[key].shape != own.shape
    ]
    return _listed("has", wrong)


def _size(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a scalar"


def _short(path: Path) -> str:
    return f"'{path.name}'"


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep open_clip from configuring the root logger, which it does on its first warning."""
    handler = logging.NullHandler()
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


def tokenizer(model: str) -> Any:
    """The tokenizer of a model; MissingError if it is not installed or cannot be downloaded."""
    if model.startswith(names.FOLDER):
        model = f"{names.FOLDER}{names.bundle_folder(model)}"
    try:
        with _quiet():
            return open_clip.get_tokenizer(model.replace("/", "-") if ":" not in model else model)
    except ImportError as error:
        raise MissingError(
            f"the tokenizer of {model} needs a package that is not installed: {error.name or error}"
        ) from None
    except Exception as error:
        raise MissingError(
            f"the tokenizer of {model} is not on this machine and could not be downloaded "
            f"({type(error).__name__}); run once with a network"
        ) from None
