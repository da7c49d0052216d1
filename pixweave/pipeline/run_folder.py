"""The run folder: the recipe, the events and the result."""

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

from pixweave.errors import RunError
from pixweave.media.atomic_write import write_whole

if TYPE_CHECKING:
    from pixweave.recipe import Recipe

PACKAGES = ("pixweave", "torch", "open_clip_torch", "kornia", "numpy", "pillow", "av")


def new_folder(root: Path, name: str) -> Path:
    """Create and return `root/DATE/NUMBER-NAME` with the next number; `root/last` links to it.

    Runs that start at the same time get different numbers.
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
        except FileExistsError:  # another run is claiming this number
            continue
        if any(day.glob(f"{number:04}-*")):  # another run has just claimed it
            claim.rmdir()
            continue
        claim.rename(folder)
        _update_link(root / "last", folder)
        return folder


def empty_folder(folder: str | Path) -> Path:
    """Create a folder for a run, if there is none; RunError if it has any files."""
    path = Path(folder).expanduser()
    try:
        path.mkdir(parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise RunError(f"the folder '{path}' is not empty; choose a new one")
    except OSError as error:
        raise RunError(f"cannot create the run folder: {error}; choose another one") from None
    return path


class RunFolder:
    """Writes `recipe.yaml`, `resolved.yaml`, `events.jsonl` and `run.json` of one run.

    A full disk must not abort the run: events that cannot be written are dropped with a warning.
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
            "argv": _command(sys.argv),
            "versions": versions(),
            "platform": f"{platform.system()} {platform.machine()}",
            "plugins": recipe.plugin_versions(),
        }
        self._write("running", {})
        self._events: TextIO | None = (folder / "events.jsonl").open("w", encoding="utf-8")

    def record_event(self, event: Mapping[str, Any]) -> None:
        """Append one event; steps without losses are left out."""
        if self._events is None or (event["event"] == "step" and "losses" not in event):
            return
        try:
            self._events.write(json.dumps(finite(event)) + "\n")
            self._events.flush()
        except OSError as error:
            print(f"warning: events are no longer recorded: {error}", file=sys.stderr)
            self.close()

    def finish(self, status: str, summary: Mapping[str, Any]) -> None:
        """Write the status and the summary, and record no more events."""
        self.write_status(status, summary)
        self.close()

    def write_status(self, status: str, summary: Mapping[str, Any], error: str = "") -> None:
        """Write the status (done, interrupted or failed) and the summary to `run.json`.

        `error` is the message of the error of a failed run.
        """
        if error:
            summary = {**summary, "error": error}
        try:
            self._write(status, summary)
        except OSError as error:
            print(f"warning: run.json could not be written: {error}", file=sys.stderr)

    def close(self) -> None:
        """Record no more events."""
        if self._events is not None:
            with contextlib.suppress(OSError):  # a buffered line may not fit on the disk
                self._events.close()
            self._events = None

    def _write(self, status: str, summary: Mapping[str, Any]) -> None:
        body = {"status": status, **self._head, **finite(summary)}
        write_whole(self.folder / "run.json", json.dumps(body, indent=2) + "\n")


def finite(values: Any) -> Any:
    """The values with NaN and infinities as None, since JSON cannot represent them."""
    if isinstance(values, Mapping):
        return {key: finite(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def _command(argv: list[str]) -> list[str]:
    """The command line with the home folder as `~`."""
    words = [Path(argv[0]).name, *argv[1:]]
    try:
        folder = str(Path.home())
    except RuntimeError:  # no HOME, and no entry for the user, as in some containers
        return words
    home = re.compile(re.escape(folder) + r"(?=/|$)")
    return [words[0], *(home.sub("~", word) for word in words[1:])]


def versions() -> dict[str, str]:
    """The versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _update_link(link: Path, folder: Path) -> None:
    """Make `link` point to `folder`, if the file system supports links."""
    if link.exists() and not link.is_symlink():  # a file or folder of the user
        return
    new_link = link.with_name(f".{link.name}-{folder.parent.name}-{folder.name}")
    try:
        new_link.symlink_to(os.path.relpath(folder, link.parent), target_is_directory=True)
        os.replace(new_link, link)
    except OSError:
        new_link.unlink(missing_ok=True)
