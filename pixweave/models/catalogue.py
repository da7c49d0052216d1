"""The model catalogue: the entries of the package and of the user's models.yaml."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from pixweave.errors import RunError
from pixweave.plugins.offered import OFFERED_MODELS

__all__ = ["HUB", "OFFERED_MODELS", "Model", "ModelFile", "in_bytes", "is_plain", "load"]

HERE = Path(__file__).parent
PLAIN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
HUB = "hf://"

Name = Annotated[str, StringConstraints(pattern=PLAIN, max_length=100)]
Address = Annotated[str, StringConstraints(pattern=r"^(https?://|hf://[^/]+/[^/]+/)\S+$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelFile(_Strict):
    """One file of a model."""

    name: Name = Field(description="file name on this machine")
    mirrors: tuple[Address, ...] = Field(
        min_length=1, description="http://, https:// or hf://OWNER/NAME[@REVISION]/FILE, best first"
    )
    size: int | None = Field(None, gt=0, description="bytes; none: unknown")
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="none: unknown")
    roughly: str | None = Field(None, description="approximate size as text, if size is none")


class Model(_Strict):
    """A model of the catalogue; `files` by role: weights, config and possibly others."""

    about: str = Field(description="description in one line")
    licence: str = Field("not stated", description="licence of the weights, if stated")
    page: str | None = Field(None, description="address of its web page")
    files: dict[str, ModelFile] = Field(min_length=1, description="files by role")

    @model_validator(mode="after")
    def _unique_names(self) -> Model:
        names = [file.name for file in self.files.values()]
        if len(set(names)) < len(names):
            raise ValueError(f"two files have the same name: {', '.join(names)}")
        return self

    @property
    def extent(self) -> str:
        """The total size as text, or '' if it is unknown."""
        files = self.files.values()
        known = [file.size for file in files if file.size is not None]
        if len(known) == len(files):
            return in_bytes(sum(known))
        return next((f"~{file.roughly}" for file in files if file.roughly), "")


def load(home: Path) -> dict[str, Model]:
    """The models of the package, of `home`/models.yaml, which takes precedence, and of plugins.

    A model of a plugin is called `plugin.name` if another model has its name. RunError names the
    first error in the user's file, or in what a plugin registers.
    """
    found = _read(HERE / "catalogue.yaml")
    user_file = home / "models.yaml"
    if user_file.is_file():
        found.update(_read(user_file))
    for full_name, entry in OFFERED_MODELS.items():
        plugin, _, name = full_name.rpartition("/")
        model = _model(name, entry, f"register_models() of plugin '{plugin}'")
        found[name if name not in found else f"{plugin}.{name}"] = model
    return found


def _read(path: Path) -> dict[str, Model]:
    try:
        content = yaml.safe_load(path.read_text("utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise RunError(f"the catalogue '{path}' cannot be read: {reason}") from None
    if not isinstance(content, dict):
        raise RunError(f"the catalogue '{path}' is not a mapping of names to models")
    models = {}
    for name, entry in content.items():
        if not is_plain(str(name)):
            raise RunError(f"error in the catalogue '{path}' at {name}: {_HINTS['name']}")
        models[str(name)] = _model(str(name), entry, f"the catalogue '{path}'")
    return models


def _model(name: str, entry: object, source: str) -> Model:
    try:
        return Model.model_validate(entry)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, (name, *first["loc"])))
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "string_pattern_mismatch":
            message = next(hint for key, hint in _HINTS.items() if key in first["loc"])
        raise RunError(f"error in {source} at {where}: {message}") from None


_HINTS = {
    "name": "a name consists of letters, digits, '.', '_' and '-'",
    "mirrors": "write http://..., https://... or hf://OWNER/NAME[@REVISION]/FILE",
    "sha256": "write 64 hexadecimal digits, in lower case",
}


def is_plain(name: str) -> bool:
    """Whether a text is a valid name for a model, and for its folder."""
    return re.fullmatch(PLAIN, name) is not None


def in_bytes(count: float) -> str:
    """A number of bytes as text, in decimal units: `958 MB`."""
    if count < 1000:
        return f"{count:.0f} bytes"
    for unit in ("kB", "MB"):
        count /= 1000
        if count < 999.5:
            return f"{count:.0f} {unit}" if count >= 10 else f"{count:.1f} {unit}"
    count /= 1000
    return f"{count:.1f} GB"
