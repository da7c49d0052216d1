"""Files that recipes name: built-in recipes, and inputs relative to the recipe that wrote them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from pixweave.errors import InvalidValue, MissingError, nearest_name
from pixweave.media.images import size_of
from pixweave.recipe.nodes import Written

SUFFIXES = (".yaml", ".yml")


def builtin_folder() -> Path:
    """Where the built-in recipes lie: inside the installed package, or in the checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def builtins() -> dict[str, Path]:
    """The built-in recipes by name (`hello`, `presets/draft`), sorted."""
    root = builtin_folder()
    return {
        path.relative_to(root).with_suffix("").as_posix(): path
        for path in sorted(root.rglob("*.y*ml"))
        if path.suffix in SUFFIXES
    }


def resolve(written: str, folder: Path | None = None) -> Path:
    """The path that a recipe means, from the folder of the file that wrote it; `~` is the home."""
    base = getattr(written, "folder", None) or folder or Path()
    try:
        return base / Path(str(written)).expanduser()
    except RuntimeError:  # `~name` of nobody
        return base / str(written)


def nearest(path: Path) -> str:
    """A hint with the nearest name that does exist beside a missing file."""
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    try:
        names = [p.name for p in path.parent.iterdir() if not p.name.startswith(".")]
    except OSError:
        return ""
    near = nearest_name(path.name, names)
    return f"did you mean '{near}'?" if near else f"nothing of that name is in {path.parent}"


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
    raise InvalidValue(f"names the file '{raw}', which is not there", nearest(path))


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
    InputFile = Annotated[Path, BeforeValidator(_input_file), WithJsonSchema({"type": "string"})]
    PictureFile = Annotated[
        Path, BeforeValidator(_picture_file), WithJsonSchema({"type": "string"})
    ]
"""A setting that names an existing file, relative to the recipe that writes it; gives a Path.

The head of a PictureFile is read to see that it is a picture.
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
