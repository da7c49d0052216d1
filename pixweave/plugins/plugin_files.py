"""Plugin files: which files of a folder are plugins, how they are imported, and their digests."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import importlib.util
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

from pixweave.errors import PluginError

_TESTS = re.compile(r"(test_.*|.*_test|conftest|setup)\.py")
_HOOKS = re.compile(r"\b(hookimpl|def (register_\w+|after_run)\()")


def plugin_files(place: Path) -> Sequence[Path]:
    """The plugins of a folder: its .py files and its packages; or a single .py file.

    Left out are names that begin with `_`, tests, and helpers: files without a hook that a file
    beside them imports, or that do not mention pixweave. PluginError if there is no such place.
    """
    if place.is_file() and place.suffix == ".py":
        return [place]
    if not place.is_dir():
        what = "does not exist" if not place.exists() else "is not a folder or a .py file"
        raise PluginError(f"the plugin folder '{place}' {what}; see --plugins-dir")
    files = [*place.glob("[!_]*.py"), *place.glob("[!_]*/__init__.py")]
    texts = {path: _text(path) for path in files if not _TESTS.fullmatch(path.name)}
    return sorted(path for path in texts if not _is_helper(path, texts))


def _is_helper(path: Path, texts: Mapping[Path, str]) -> bool:
    if _HOOKS.search(texts[path]) or path.name == "__init__.py":
        return False
    imports = re.compile(rf"^\s*(import|from) +{re.escape(path.stem)}\b", re.MULTILINE)
    if any(imports.search(text) for other, text in texts.items() if other != path):
        return True
    return "pixweave" not in texts[path] and _parses(texts[path])


def _parses(text: str) -> bool:
    try:
        compile(text, "plugin", "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return False  # importing it says what is wrong
    return True


def _text(path: Path) -> str:
    with contextlib.suppress(OSError, UnicodeDecodeError):
        return path.read_text("utf-8")
    return "\0"  # importing it says what is wrong


def plugin_name(path: Path) -> str:
    """The name of the plugin in a file: its stem, or the name of its folder."""
    return path.parent.name if path.name == "__init__.py" else path.stem


def import_file(path: Path) -> ModuleType:
    """Import a plugin file; modules beside it can be imported by their names."""
    folder = str((path.parent.parent if path.name == "__init__.py" else path.parent).absolute())
    if folder not in sys.path:
        sys.path.append(folder)  # at the end, where it cannot hide an installed module
    name = f"pixweave_plugin_{plugin_name(path)}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # needed before it runs: annotations are resolved through sys.modules
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def digest(path: Path) -> str:
    """`sha256:` and 16 digits of a plugin file, or of all .py files of a plugin's folder."""
    files: Iterable[Path] = [path]
    if path.name == "__init__.py":
        files = sorted(path.parent.rglob("*.py"))
    found = hashlib.sha256()
    for file in files:
        found.update(f"{file.relative_to(path.parent).as_posix()}\0".encode())
        found.update(file.read_bytes())
    return f"sha256:{found.hexdigest()[:16]}"


@functools.cache
def origin_of(dist: importlib.metadata.Distribution | None) -> tuple[str, str]:
    """Where a plugin came from, and its version; parsed once for each installed package."""
    if dist is None:
        return "unknown", ""
    return ("bundled" if dist.name == "pixweave" else dist.name), dist.version
