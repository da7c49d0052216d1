"""The layers of a recipe: extended recipes, presets and the recipe; merged into one tree."""

from __future__ import annotations

import contextlib
import difflib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pixweave.errors import Issue, Mark, MissingError, RecipeError, describe_value, did_you_mean
from pixweave.recipe import nodes, top_level
from pixweave.recipe.nodes import Node
from pixweave.recipe.paths import SUFFIXES, builtin_folder, resolve
from pixweave.recipe.read_text import LARGEST, decode, read_text
from pixweave.recipe.written import Written
from pixweave.timeline.keyframes import is_keyframes

MOST_LAYERS = 64

DEFAULT = Mark("default")


def default_layer() -> Node:
    """The default parts of a recipe, as the lowest layer."""

    def scalar(text: str) -> Node:
        return Node(Written.make(text, DEFAULT, Path()), DEFAULT)

    lists = {
        "perceptors": top_level.DEFAULT_PERCEPTORS,
        "augmentations": top_level.DEFAULT_AUGMENTATIONS,
        "export": top_level.DEFAULT_EXPORT,
    }
    tree = {name: Node([scalar(item) for item in items], DEFAULT) for name, items in lists.items()}
    weight = Node(top_level.DEFAULT_LOSS_WEIGHT, DEFAULT)
    loss = Node({"use": scalar(top_level.DEFAULT_LOSS), "weight": weight}, DEFAULT)
    tree |= {"losses": Node([loss], DEFAULT), "generator": scalar(top_level.DEFAULT_GENERATOR)}
    return Node(tree, DEFAULT)


class Layers:
    """Collects the layers of recipes, lowest first, and all issues found while reading them.

    Below each layer are those that it refers to: `extends`, then `quality`, then `presets`.
    """

    def __init__(self, known: Mapping[str, Path]) -> None:
        self.known = known
        """Recipes and presets by name, see `pixweave.recipe.library`."""
        self.found: list[Node] = []
        self.texts: list[tuple[str, str]] = []
        self.paths: list[Path] = []
        """The files that were read, with absolute paths."""
        self.labels: dict[str, str] = {}
        self.issues: list[Issue] = []
        self.unstated: list[Issue] = []
        """Issues of layers without a format version; the rest of such a layer can be read."""
        self.too_many = False

    def add_source(self, source: str | Path) -> tuple[str, Path]:
        """Add a file, a built-in recipe or `-` (stdin); returns its name and its folder.

        Raises MissingError if it is not found.
        """
        if source == "-":
            data = sys.stdin.buffer.read(LARGEST + 1)
            try:
                self.add_text(decode(data, "stdin"), "stdin", Path.cwd())
            except RecipeError as error:
                self.issues += error.issues
            return "stdin", Path.cwd()
        path = locate(str(source), Path(), self.known)
        if path is None:
            message = f"recipe '{source}' not found"
            hint = _nearest(str(source), Path(str(source)).absolute(), self.known)
            raise MissingError(f"{message}; {hint}" if hint else message)
        given = _exists(Path(str(source)).expanduser())
        self._add_file(path, str(source) if given else _display(path), "recipe", ())
        return path.stem, path.absolute().parent

    def add_text(
        self,
        written: str,
        name: str,
        folder: Path,
        label: str = "recipe",
        chain: tuple[Path, ...] = (),
    ) -> None:
        """Add the text of a recipe, and all layers that it refers to."""
        self.texts.append((name, written))
        self.labels.setdefault(name, label)
        try:
            node = nodes.parse(written, name, folder)
        except RecipeError as error:
            self.issues += error.issues
            return
        self._check_format(node)
        self.add_node(node, chain)

    def add_node(self, node: Node, chain: tuple[Path, ...] = ()) -> None:
        """Add a parsed layer, and all layers that it refers to."""
        for key, reference in self._references(node):
            self._add_reference(key, reference, chain)
        if len(self.found) < MOST_LAYERS:
            rest = {k: n for k, n in node.items() if k not in (*top_level.LAYERS, "pixweave")}
            self.found.append(replace(node, value=rest))
        elif not self.too_many:
            self.too_many = True
            self.issues.append(
                Issue.at(
                    node.mark,
                    f"the recipe has more than {MOST_LAYERS} layers",
                    "extend fewer files",
                )
            )

    def merged(self) -> Node:
        """All layers as one tree."""
        tree = default_layer()
        for layer in self.found:
            tree = merge(tree, layer)
        return tree

    def _check_format(self, node: Node) -> None:
        if "pixweave" not in node:
            self.unstated.append(
                Issue.at(
                    Mark(node.mark.source, 1, 1),
                    "the recipe format version is missing",
                    f"add 'pixweave: {top_level.FORMAT}' as the first line",
                )
            )
            return
        version = node["pixweave"]
        number = top_level.whole(version.value)
        if type(number) is int and number > top_level.FORMAT:
            self.issues.append(
                Issue.at(
                    version.mark,
                    f"the recipe has format {number}, but this pixweave supports format "
                    f"{top_level.FORMAT}",
                    "install a newer version of pixweave",
                )
            )
        elif number != top_level.FORMAT or type(number) is not int:
            self.issues.append(
                Issue.at(
                    version.mark,
                    "'pixweave' must be the recipe format version, "
                    f"not {describe_value(version.value)}",
                    f"write 'pixweave: {top_level.FORMAT}'",
                )
            )

    def _references(self, node: Node) -> list[tuple[str, Node]]:
        found = []
        for key in top_level.LAYERS:
            if key not in node:
                continue
            value = node[key]
            items = value.value if isinstance(value.value, list) and key != "quality" else [value]
            for item in items:
                if isinstance(item.value, str) and item.value:
                    found.append((key, item))
                else:
                    self.issues.append(
                        Issue.at(
                            item.mark,
                            f"'{key}' must be {_EXPECTED[key]}, not {describe_value(item.value)}",
                        )
                    )
        return found

    def _add_reference(self, key: str, node: Node, chain: tuple[Path, ...]) -> None:
        if key == "quality" and node.value not in top_level.QUALITIES:
            self.issues.append(
                Issue.at(
                    node.mark,
                    f"quality '{node.value}' is not known",
                    did_you_mean(node.value, top_level.QUALITIES),
                )
            )
            return
        folder = getattr(node.value, "folder", Path())
        path = locate(node.value, folder, self.known, presets=key != "extends")
        if path is None:
            message = f"{_KIND_OF[key]} '{node.value}' not found"
            near = folder / node.value
            hint = _nearest(node.value, near, self.known, presets=key != "extends")
            self.issues.append(Issue.at(node.mark, message, hint))
        elif path.resolve() in chain:
            names = " -> ".join(_display(p) for p in (*chain, path))
            self.issues.append(
                Issue.at(node.mark, f"circular '{key}': {names}", "remove one of them")
            )
        elif len(self.found) < MOST_LAYERS and len(chain) < MOST_LAYERS:
            label = "extends" if key == "extends" else f"preset {path.stem}"
            self._add_file(path, _display(path), label, chain)

    def _add_file(self, path: Path, name: str, label: str, chain: tuple[Path, ...]) -> None:
        try:
            written = read_text(path, name)
        except RecipeError as error:
            self.issues += error.issues
            return
        self.paths.append(path.absolute())
        self.add_text(written, name, path.absolute().parent, label, (*chain, path.resolve()))


_EXPECTED = {
    "extends": "the name of a file or of a built-in recipe",
    "presets": "names of presets",
    "quality": "one of " + ", ".join(top_level.QUALITIES),
}
_KIND_OF = {"extends": "recipe", "presets": "preset", "quality": "preset"}


def locate(
    name: str, folder: Path, known: Mapping[str, Path], presets: bool = False
) -> Path | None:
    """The file of a name: a path relative to `folder`, or a known recipe or preset, or None."""
    short = name[: -len(Path(name).suffix)] if Path(name).suffix in SUFFIXES else name
    if presets and f"presets/{short}" in known:
        return known[f"presets/{short}"]
    path = resolve(name, folder)
    return path if _exists(path) else known.get(short)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _nearest(name: str, path: Path, known: Mapping[str, Path], presets: bool = False) -> str:
    start = "presets/" if presets else ""
    full = [k.removeprefix(start) for k in known if k.startswith(start) and k.endswith(f"/{name}")]
    if full:  # several plugins have it
        names = "' or '".join(full)
        return f"write '{names}'"
    if presets:
        found = [k.removeprefix("presets/") for k in known if k.startswith("presets/")]
        return did_you_mean(name, found)
    near = {name: name for name in known}
    with contextlib.suppress(OSError, ValueError):
        near |= {p.stem: p.name for p in path.parent.iterdir() if p.suffix in SUFFIXES}
    found = difflib.get_close_matches(Path(name).with_suffix("").as_posix(), near, n=1)
    found = found or difflib.get_close_matches(path.stem, near, n=1)
    if found:
        return f"did you mean '{near[found[0]]}'?"
    return "'pixweave ls' lists the built-in recipes"


def _display(path: Path) -> str:
    """The file name in messages: relative to the built-in recipes or the current folder."""
    for base in (builtin_folder(), Path.cwd()):
        if path.resolve().is_relative_to(base.resolve()):
            return path.resolve().relative_to(base.resolve()).as_posix()
    return str(path)


def merge(lower: Node, upper: Node, path: Sequence[str] = ()) -> Node:
    """Merge two trees: mappings merge; lists, scalars and parts with another `use` are replaced."""
    if tuple(path) == ("size",):
        return _merge_size(lower, upper)
    if isinstance(lower.value, str) and tuple(path) in (("generator",), ("optimizer",)):
        lower = Node({"use": lower}, lower.mark, lower.key_mark)
    if len(path) == 1 and path[0] in top_level.BARE:
        lower = nodes.opened(lower, top_level.BARE[path[0]])
        old, new = ({name for name in top_level.SOURCES if name in node} for node in (lower, upper))
        if old and new and not old & new:
            return upper
    if not isinstance(lower.value, dict) or not isinstance(upper.value, dict):
        return upper
    if is_keyframes(upper.value) or is_keyframes(lower.value):
        return upper
    if "use" in upper and ("use" not in lower or lower["use"].value != upper["use"].value):
        return upper
    merged = dict(lower.value)
    for key, node in upper.items():
        merged[key] = merge(merged[key], node, (*path, key)) if key in merged else node
    return Node(merged, upper.mark, upper.key_mark)


def _merge_size(lower: Node, upper: Node) -> Node:
    """Merge sizes: an aspect ratio (16:9) combines with a size in pixels of another layer."""
    a, b = lower.plain(), upper.plain()
    if top_level.is_ratio(a) and isinstance(b, int):
        a, b = b, a
    if not top_level.is_ratio(b) or top_level.is_ratio(a):
        return upper
    try:
        width, height = top_level.read_size(a)
        sides = top_level.read_size(b, width * height)
    except ValueError:
        return upper
    return Node([Node(side, upper.mark) for side in sides], upper.mark, upper.key_mark)
