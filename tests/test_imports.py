"""The rooms of the core: no circles between files, and no room imports one above it.

Every import counts: those at the top of a file, those inside functions, those for types only.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "pixweave"
PLUGINS = ROOT / "plugins"

LEVELS = (
    "errors",
    "timeline",
    "workers",
    "media",
    "events",
    "protocols",
    "component",
    "borders",
    "hookspecs",
    "plugins",
    "loading",
    "recipe",
    "models",
    "embedding",
    "engine",
    "search",
    "classification",
    "pipeline",
    "train",
    "testing",
    "cli",
    "__main__",
    "__init__",
    "templates",
)
"""The rooms, and the files of the top shelf, from the lowest to the highest."""


def modules(folder: Path, package: str) -> dict[str, Path]:
    """Every module below a folder by its dotted name; a package is its `__init__.py`."""
    found = {}
    for path in folder.rglob("*.py"):
        parts = (package, *path.relative_to(folder).with_suffix("").parts)
        found[".".join(part for part in parts if part and part != "__init__")] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> Iterator[str]:
    """The modules among the known ones that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module


def graph(known: dict[str, Path]) -> dict[str, set[str]]:
    return {name: set(imported(path, known)) - {name} for name, path in known.items()}


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """The groups of modules that reach each other (Tarjan's strongly connected components)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in edges[name]:
            if other not in order:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            group = [stack.pop()]
            while group[-1] != name:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for name in edges:
        if name not in order:
            visit(name)
    return found


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


KNOWN = modules(CORE, "pixweave")
EDGES = graph(KNOWN)


def test_every_room_has_its_level() -> None:
    assert {room(name) for name in KNOWN} == set(LEVELS)


def test_no_file_of_the_core_is_in_an_import_circle() -> None:
    assert circles(EDGES) == []


def test_a_room_imports_only_rooms_below_it() -> None:
    upward = [
        f"{name} imports {other}"
        for name, others in sorted(EDGES.items())
        for other in sorted(others)
        if room(name) != room(other) and LEVELS.index(room(other)) > LEVELS.index(room(name))
    ]
    assert upward == []


def test_no_plugin_imports_another_or_is_imported_by_the_core() -> None:
    plugins = modules(PLUGINS, "")
    known = {**KNOWN, **plugins}
    crossing = [
        f"{name} imports {other}"
        for name, path in sorted(known.items())
        for other in sorted(set(imported(path, known)))
        if other in plugins and name.partition(".")[0] != other.partition(".")[0]
    ]
    assert crossing == []


def test_the_top_shelf_holds_the_contract_alone() -> None:
    shelf = sorted(path.stem for path in CORE.glob("*.py"))
    assert shelf == [
        *("__init__", "__main__", "component", "errors", "events", "hookspecs", "protocols"),
    ]


@pytest.mark.parametrize(
    ("edges", "found"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": {"a"}}, [["a", "b", "c"]]),
        ({"a": {"b"}, "b": {"c"}, "c": set()}, []),
    ],
)
def test_a_circle_is_found(edges: dict[str, set[str]], found: list[list[str]]) -> None:
    assert circles(edges) == found
