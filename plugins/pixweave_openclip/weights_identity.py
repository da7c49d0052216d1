"""What weights a model has, as a text, without torch: equal texts, comparable vectors."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

from pixweave_openclip import model_names as names

ENDINGS = (".safetensors", ".bin", ".pt", ".pth")


def identity(model: str, pretrained: str | None) -> str:
    """Architecture and tag, or the SHA-256 of the file: published tags do not change."""
    if model.startswith(names.FOLDER):
        folder = names.bundle_folder(model)
        files = sorted(p for p in folder.iterdir() if p.suffix in ENDINGS)
        return "/".join(["local-dir", *map(_digest, files)])
    if pretrained is None or pretrained == names.RANDOM or not _file(pretrained).is_file():
        return f"{model}/{pretrained}" if pretrained else model
    return f"{model}/{_digest(_file(pretrained))}"


def _file(pretrained: str) -> Path:
    from pixweave.recipe.paths import resolve

    return resolve(pretrained)


def _digest(path: Path) -> str:
    """The SHA-256 of a file, remembered by its size and time of change: some seconds otherwise."""
    from pixweave.models import home

    status = path.stat()
    key = f"{path.resolve()}/{status.st_size}/{status.st_mtime_ns}"
    memo = home() / "digests.json"
    known: dict[str, str] = {}
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(memo.read_text("utf-8"))
    if key not in known:
        with path.open("rb") as file:
            known[key] = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        with contextlib.suppress(OSError):
            from pixweave.media.atomic_write import write_whole

            os.makedirs(memo.parent, exist_ok=True)
            write_whole(memo, json.dumps(known))
    return known[key]
