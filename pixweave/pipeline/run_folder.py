"""The run folder: the recipe, what happened, and how it ended."""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import json
import math
import os
import platform
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from pixweave.media.atomic_write import write_whole

if TYPE_CHECKING:
    from pixweave.recipe import Recipe

PACKAGES = ("pixweave", "torch", "open_clip_torch", "kornia", "numpy", "pillow", "av")


def new_folder(root: Path, name: str) -> Path:
    """Make and give `root/DATE/NUMBER-NAME`, numbered on; `root/last` leads to it.

    Runs that start at the same moment get different numbers.
    """
    day = root / datetime.date.today().isoformat()
    day.mkdir(parents=True, exist_ok=True)
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "run"
    numbers = [int(p.name.partition("-")[0]) for p in day.iterdir() if re.match(r"\d+-", p.name)]
    number = max(numbers, default=0)
    while True:
        number += 1
        claim, folder = day / f".{number:04}", day / f"{number:04}-{slug}"
        try:
            claim.mkdir()
        except FileExistsError:  # another run is taking it just now
            continue
        if any(day.glob(f"{number:04}-*")):  # another run has just taken it
            claim.rmdir()
            continue
        claim.rename(folder)
        _point(root / "last", folder)
        return folder


class RunFolder:
    """Keeps `recipe.yaml`, `resolved.yaml`, `events.jsonl` and `run.json` of one run.

    A disk that is full must not cost the picture: events that cannot be written are dropped.
    """

    def __init__(self, folder: Path, recipe: Recipe) -> None:
        self.folder = folder
        sources = recipe.sources or (("recipe.yaml", ""),)
        for i, (name, text) in enumerate(sources):
            last = i == len(sources) - 1
            kept = "recipe.yaml" if last else f"recipe-{i + 1}-{Path(name).stem[:80]}.yaml"
            write_whole(folder / kept, text)
        write_whole(folder / "resolved.yaml", recipe.resolved_yaml())
        self._head = {
            "title": recipe.title,
            "recipe": recipe.name,
            "seed": recipe.seed,
            "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "argv": _words(sys.argv),
            "versions": versions(),
            "platform": f"{platform.system()} {platform.machine()}",
            "plugins": sorted({part.plugin for part in recipe.parts}),
        }
        self._write("running", {})
        self._events: TextIO | None = (folder / "events.jsonl").open("w", encoding="utf-8")

    def record_event(self, event: Mapping[str, Any]) -> None:
        """Append one event; steps whose losses were not read are left out."""
        if self._events is None or (event["event"] == "step" and "losses" not in event):
            return
        try:
            self._events.write(json.dumps(finite(event)) + "\n")
            self._events.flush()
        except OSError as error:
            print(f"warning: events are no longer recorded: {error}", file=sys.stderr)
            self._close()

    def finish(self, status: str, summary: Mapping[str, Any]) -> None:
        """Write how it ended: done, interrupted or failed."""
        self._close()
        try:
            self._write(status, summary)
        except OSError as error:
            print(f"warning: run.json could not be written: {error}", file=sys.stderr)

    def _close(self) -> None:
        if self._events is not None:
            with contextlib.suppress(OSError):  # it may hold a line that has no room
                self._events.close()
            self._events = None

    def _write(self, status: str, summary: Mapping[str, Any]) -> None:
        body = {"status": status, **self._head, **finite(summary)}
        write_whole(self.folder / "run.json", json.dumps(body, indent=2) + "\n")


def finite(values: Any) -> Any:
    """The same with numbers that JSON cannot hold as null."""
    if isinstance(values, Mapping):
        return {key: finite(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def _words(argv: list[str]) -> list[str]:
    """The command as it was typed, with the home folder as `~`."""
    home = re.compile(re.escape(str(Path.home())) + r"(?=/|$)")
    return [Path(argv[0]).name, *(home.sub("~", word) for word in argv[1:])]


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _point(link: Path, folder: Path) -> None:
    """Make `link` lead to `folder`, where the file system has links."""
    if link.exists() and not link.is_symlink():  # somebody's own
        return
    fresh = link.with_name(f".{link.name}-{folder.parent.name}-{folder.name}")
    try:
        fresh.symlink_to(os.path.relpath(folder, link.parent), target_is_directory=True)
        os.replace(fresh, link)
    except OSError:
        fresh.unlink(missing_ok=True)
