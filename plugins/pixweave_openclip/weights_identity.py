"""The identity of a model's weights as a text, without torch: equal texts, comparable vectors."""

from __future__ import annotations

from pathlib import Path

from pixweave.models.file_digest import file_digest
from pixweave_openclip import model_names as names

ENDINGS = (".safetensors", ".bin", ".pt", ".pth")


def identity(model: str, pretrained: str | None) -> str:
    """Architecture and tag (published tags do not change), or the SHA-256 of the file."""
    if model.startswith(names.FOLDER):
        folder = names.bundle_folder(model)
        files = sorted(p for p in folder.iterdir() if p.suffix in ENDINGS)
        return "/".join(["local-dir", *map(file_digest, files)])
    if pretrained is None or pretrained == names.RANDOM or not _file(pretrained).is_file():
        return f"{model}/{pretrained}" if pretrained else model
    return f"{model}/{file_digest(_file(pretrained))}"


def _file(pretrained: str) -> Path:
    from pixweave.recipe.paths import resolve

    return resolve(pretrained)
