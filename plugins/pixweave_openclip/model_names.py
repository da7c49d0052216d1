"""Architectures and tags of the installed open_clip, read from its files without importing it.

Importing open_clip would import torch.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from pixweave import Issue
from pixweave.errors import did_you_mean, nearest_name
from pixweave.recipe.paths import nearest, resolve

HUB, FOLDER = "hf-hub:", "local-dir:"
RANDOM = "random"
SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")


def find_issues(model: str, pretrained: str | None) -> Iterator[Issue]:
    """Issues of the two settings that names and files reveal, without loading anything."""
    if model.startswith((HUB, FOLDER)):
        yield from _of_a_bundle(model, pretrained)
        return
    known = architectures()
    name = model.replace("/", "-")
    if known and name not in known:
        yield Issue("model", f"open_clip has no architecture '{model}'", near(name, known))
    elif pretrained is None:
        hint = "set pretrained to " + _choice(name)
        yield Issue("pretrained", f"'{model}' needs weights", hint)
    elif is_file_name(pretrained):
        path = resolve(pretrained)
        if not path.is_file():
            yield Issue("pretrained", f"file '{pretrained}' not found", nearest(path))
    elif not (pretrained == RANDOM or _is_tag(name, pretrained) or resolve(pretrained).is_file()):
        hint = near(pretrained, tags(name) or []) or "set a file"
        yield Issue("pretrained", f"'{model}' has no weights '{pretrained}'", hint)


def _of_a_bundle(model: str, pretrained: str | None) -> Iterator[Issue]:
    prefix, _, name = model.partition(":")
    if not name:
        yield Issue("model", f"a name is missing after '{prefix}:'", f"write {prefix}:NAME")
    elif prefix + ":" == FOLDER and not (bundle_folder(model) / "open_clip_config.json").is_file():
        yield Issue(
            "model",
            f"the folder '{name}' contains no open_clip_config.json",
            "use a folder as saved by open_clip's push_to_hf_hub",
        )
    if pretrained is not None:
        yield Issue("pretrained", f"is not used: '{model}' includes its own weights", "remove it")


def bundle_folder(model: str) -> Path:
    """The folder of a `local-dir:` model, relative to the recipe that names it."""
    folder = getattr(model, "folder", Path())
    return Path(folder) / Path(str(model)[len(FOLDER) :]).expanduser()


def is_file_name(pretrained: str) -> bool:
    """Whether it looks like a file name rather than a tag."""
    return "/" in pretrained or "\\" in pretrained or Path(pretrained).suffix.lower() in SUFFIXES


def near(name: str, known: list[str]) -> str:
    """A hint with the nearest known name, or with some examples if none is similar."""
    if nearest_name(name, known) or len(known) <= 8:
        return did_you_mean(name, known)
    return f"for example {', '.join(known[:3])}; open_clip has {len(known)} of them"


def _choice(name: str) -> str:
    known = tags(name) or []
    others = f" or another of {len(known)}" if len(known) > 3 else ""
    return f"a file or a tag: {', '.join(known[:3])}{others}" if known else "a file"


def _is_tag(name: str, word: str) -> bool:
    known = tags(name)
    return known is None or word.lower().replace("-", "_") in known


@cache
def _folder() -> Path | None:
    spec = find_spec("open_clip")
    places = list(spec.submodule_search_locations or ()) if spec else []
    return Path(places[0]) if places else None


@cache
def architectures() -> list[str]:
    """The architectures of the installed open_clip; empty if it is not installed."""
    folder = _folder()
    return sorted(path.stem for path in (folder / "model_configs").glob("*.json")) if folder else []


def tags(name: str) -> list[str] | None:
    """The tags of the published weights of an architecture; None if they cannot be read."""
    try:
        table = _tables()
    except (OSError, SyntaxError):
        return None
    base = name.removesuffix("-quickgelu")
    if base in table:
        return table[base]
    return [] if table else None


@cache
def _tables() -> dict[str, list[str]]:
    """Model names to weight tags, from the literals in open_clip/pretrained.py."""
    folder = _folder()
    if folder is None:
        return {}
    tree = ast.parse((folder / "pretrained.py").read_text("utf-8"))
    values = {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    top = values.get("_PRETRAINED")
    if not isinstance(top, ast.Dict):
        return {}
    found: dict[str, list[str]] = {}
    for key, value in zip(top.keys, top.values, strict=True):
        listed = values.get(value.id) if isinstance(value, ast.Name) else value
        if isinstance(key, ast.Constant) and isinstance(listed, ast.Call):
            found[str(key.value)] = [word.arg for word in listed.keywords if word.arg]
    return found
