"""Prompt templates, other published lists of texts, and files of them. Does not import torch.

The lists are OpenAI's (github.com/openai/CLIP, notebooks/Prompt_Engineering_for_ImageNet.ipynb;
MIT): 80 templates, the best 7 of them, and class names edited by hand. open_clip ships them in a
module without imports, which is loaded by itself, because importing all of open_clip takes seconds.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType

from pixweave.errors import InvalidValue, MissingError

RAW = ("{}",)
MOST = 10_000_000
"""Maximum size in bytes of a file of labels or templates."""


def templates(name: str) -> tuple[str, ...]:
    """The templates of a set: `raw`, `simple` or `imagenet`; `{}` stands for the label."""
    if name == "raw":
        return RAW
    functions = _published().SIMPLE_IMAGENET_TEMPLATES
    if name == "imagenet":
        functions = _published().OPENAI_IMAGENET_TEMPLATES
    return tuple(template("{}") for template in functions)


def everyday(count: int = 100) -> tuple[str, ...]:
    """Captions of `count` ImageNet classes, spread over its hierarchy: animals, things, places."""
    names = _published().IMAGENET_CLASSNAMES
    return tuple(f"a photo of a {name}." for name in names[:: max(1, len(names) // count)][:count])


def lines(path: Path) -> list[str]:
    """The non-empty lines of a text file; InvalidValue if it cannot be read or has none."""
    try:
        if path.stat().st_size > MOST:
            raise InvalidValue("is too large for a list of texts")
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise InvalidValue(f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidValue("is not UTF-8 text") from None
    found = [line.strip() for line in text.splitlines() if line.strip()]
    if not found:
        raise InvalidValue("contains no text")
    return found


@cache
def _published() -> ModuleType:
    package = importlib.util.find_spec("open_clip")  # finds it without importing it
    for folder in (package.submodule_search_locations or ()) if package else ():
        path = Path(folder) / "zero_shot_metadata.py"
        spec = importlib.util.spec_from_file_location("pixweave_zeroshot_lists", path)
        if spec is not None and spec.loader is not None and path.is_file():
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    raise MissingError(
        "the published templates are not installed, as they are part of open_clip; "
        "pip install open_clip_torch, or set your own templates"
    )
