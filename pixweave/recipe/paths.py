"""Resolve file names of recipes: built-in recipes, and input files relative to the recipe."""

from __future__ import annotations

import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from pixweave.errors import InvalidValue, MissingError, nearest_name
from pixweave.media.images import size_of
from pixweave.recipe.written import Written

SUFFIXES = (".yaml", ".yml")


def builtin_folder() -> Path:
    """The folder of the built-in recipes, in the installed package or in the checkout."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parent / "recipes"


def builtins() -> dict[str, Path]:
    """The built-in recipes by name (`hello`, `presets/draft`), sorted."""
    root = builtin_folder()
    return {
        path.relative_to(root).with_suffix("").as_posix(): path
        for path in sorted(root.rglob("*.y*ml"))
        if path.suffix in SUFFIXES
    }


def resolve(written: str, folder: Path | None = None) -> Path:
    """The path of a file name in a recipe, relative to the recipe's folder; expands `~`."""
    base = getattr(written, "folder", None) or folder or Path()
    try:
        return base / Path(str(written)).expanduser()
    except RuntimeError:  # `~name` of an unknown user
        return base / str(written)


def resolve_output(written: str) -> Path:
    """As `resolve`, for a folder that is written to.

    In a recipe of pixweave or of an installed plugin it is relative to the current folder: such a
    recipe must not write beside itself, into the package.
    """
    folder = getattr(written, "folder", None)
    places = (builtin_folder(), *map(Path, sysconfig.get_paths().values()))
    if folder is not None and any(folder.resolve().is_relative_to(place) for place in places):
        return resolve(str(written), Path.cwd())
    return resolve(written)


def nearest(path: Path) -> str:
    """A hint for a missing file: the most similar name in its folder."""
    if not path.parent.is_dir():
        return f"folder {path.parent} not found"
    try:
        names = [p.name for p in path.parent.iterdir() if not p.name.startswith(".")]
    except OSError:
        return ""
    near = nearest_name(path.name, names)
    return f"did you mean '{near}'?" if near else f"no similar name in {path.parent}"


def _input_file(raw: Any) -> Path:
    if not isinstance(raw, (str, Path)):
        raise InvalidValue(f"must be the path of a file, not {raw!r}")
    path = raw if isinstance(raw, Path) else resolve(raw)
    try:
        if path.is_file():
            return path
        folder = path.is_dir()
    except (OSError, ValueError):
        raise InvalidValue(f"is not a path: {str(raw)[:80]!r}") from None
    if folder:
        raise InvalidValue(f"must be a file; '{raw}' is a folder")
    raise InvalidValue(f"names the file '{raw}', which does not exist", nearest(path))


def _picture_file(raw: Any) -> Path:
    path = _input_file(raw)
    try:
        size_of(path)
    except MissingError as error:
        message = f"names the file '{raw}', which {error.reason}"
        raise InvalidValue(message, "use a PNG, JPEG or WebP") from None
    return path


if TYPE_CHECKING:
    InputFile = Path
    PictureFile = Path
else:
    _FILE = WithJsonSchema({"type": "string", "minLength": 1})
    InputFile = Annotated[Path, BeforeValidator(_input_file), _FILE]
    PictureFile = Annotated[Path, BeforeValidator(_picture_file), _FILE]
"""Types of settings that name an existing file, relative to the recipe; the value is a Path.

The header of a PictureFile is read to check that it is an image.
"""

__all__ = [
    "InputFile",
    "PictureFile",
    "Written",
    "builtin_folder",
    "builtins",
    "nearest",
    "resolve",
]
