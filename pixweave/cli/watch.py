"""`run --watch`: run a recipe again whenever it, or something that it depends on, is saved."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pixweave.errors import PixweaveError

if TYPE_CHECKING:
    from pixweave.engine.context import Prebuilt
    from pixweave.plugins import Plugins
    from pixweave.recipe import Recipe

EVERY = 0.2
"""Seconds between two looks at the files."""
SETTLE = 0.1
"""Seconds for which the files must not change before they are read: editors write in steps."""

Stamp = tuple[int, int, int]


def stamps(files: Iterable[Path]) -> dict[Path, Stamp | None]:
    """The time of change, the size and the number of each file; None if it does not exist."""
    found: dict[Path, Stamp | None] = {}
    for file in files:
        try:
            state = file.stat()
            found[file] = (state.st_mtime_ns, state.st_size, state.st_ino)
        except OSError:
            found[file] = None
    return found


def input_files(value: Any) -> Iterator[Path]:
    """The existing files, with absolute paths, among the values of a resolved recipe."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from input_files(item)
    elif isinstance(value, str) and os.path.isabs(value) and os.path.isfile(value):
        yield Path(value)


@dataclass
class Watch:
    """Runs a recipe, waits until one of its files is saved, and runs it again.

    `sources` are the recipes as given, `folders` those of --plugins-dir; `discover` loads the
    plugins, `load` the recipe; `run` runs it, until `changed` or `stopped`.
    """

    sources: tuple[str, ...]
    folders: tuple[str, ...]
    discover: Callable[[], Plugins]
    load: Callable[[Plugins], Recipe]
    run: Callable[[Recipe, Prebuilt], None]
    report: Callable[[PixweaveError], None]
    stopped: Callable[[], bool]
    as_json: bool = False
    seen: dict[Path, Stamp | None] = field(default_factory=dict)
    _looked: float = 0.0
    _changed: bool = False
    _prebuilt: tuple[tuple[str, str], Prebuilt] | None = None

    def loop(self) -> None:
        """Run until `stopped`; errors are reported, and wait for the next change."""
        sys.dont_write_bytecode = True  # a plugin that is saved twice in a second is read twice
        self._follow(None)
        while not self.stopped():
            self._run_once()
            if self.stopped():
                return
            if not self.changed():
                self._announce()
            self._wait()

    def changed(self) -> bool:
        """Whether a file was saved since the run began; looks at the files now and then."""
        now = time.monotonic()
        if not self._changed and now - self._looked >= EVERY:
            self._looked = now
            self._changed = stamps(self.seen) != self.seen
        return self._changed

    def _run_once(self) -> None:
        self._changed = False
        self._forget_modules()
        try:
            recipe = self.load(self.discover())
            self._follow(recipe)
            self.run(recipe, self._models(recipe))
        except PixweaveError as error:
            self.report(error)

    def _follow(self, recipe: Recipe | None) -> None:
        """Note the state of all files that matter; those of an invalid recipe stay the same."""
        files = {Path(source) for source in self.sources if os.path.exists(source)}
        for folder in self.folders:
            place = Path(folder)
            files |= {place} if place.is_file() else set(place.rglob("*.py"))
        if recipe is None:
            # what an invalid recipe extends is not known, but probably beside it
            files |= {other for file in files for other in file.parent.glob("*.y*ml")}
        else:
            files |= {*recipe.paths, *input_files(recipe.resolved())}
        before = {} if recipe is None else self.seen
        now = stamps(files)
        # a file that changed while the recipe was read counts as changed
        self.seen = {file: before.get(file, stamp) for file, stamp in now.items()}

    def _models(self, recipe: Recipe) -> Prebuilt:
        """The models of the runs before, if they were built for the same device and precision."""
        from pixweave.engine.context import Prebuilt

        key = (recipe.device, recipe.precision)
        if self._prebuilt is None or self._prebuilt[0] != key:
            self._prebuilt = (key, Prebuilt())
        return self._prebuilt[1]

    def _forget_modules(self) -> None:
        """Drop the modules of plugin folders, so that helpers beside plugins are read again."""
        places = tuple(os.path.abspath(folder) + os.sep for folder in self.folders)
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(places or ("\0",)):
                del sys.modules[name]

    def _announce(self) -> None:
        if self.as_json:
            click.echo(json.dumps({"event": "watching", "files": len(self.seen)}))
            return
        click.echo(f"watching {len(self.seen)} files; save one to run again, Ctrl-C ends", err=True)

    def _wait(self) -> None:
        """Wait until a file is saved, and no longer changes."""
        while not self.stopped():
            if self.changed():
                settled = stamps(self.seen)
                time.sleep(SETTLE)
                now = stamps(self.seen)
                if now == settled:
                    self.seen = now
                    return
            time.sleep(EVERY)
