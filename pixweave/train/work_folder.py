"""The work folder of a training: what it was asked for, its checkpoint, log and samples.

config.json      trainer, settings, seed, data and versions
checkpoint.pt    all that a resumed run needs
log.jsonl        a line every so many steps: their mean metrics, and what was measured
samples/         a grid of pictures at every checkpoint
cache/           the trainer's own
pictures-*/      the pictures at the trainer's size
"""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pixweave.errors import MissingError, RunError
from pixweave.media.atomic_write import whole, write_whole
from pixweave.media.images import to_pillow, to_uint8
from pixweave.pipeline.run_folder import finite, versions
from pixweave.train.dataset import Dataset
from pixweave.train.plan import Plan, described

COLUMNS = 8
"""Most pictures in a row of a sample grid."""

GAP = 2
"""Pixels between the pictures of a grid."""


class Work:
    """The work folder of one training; RunError if it cannot be made or holds something else."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.folder = plan, plan.work
        self.config, self.checkpoint = self.folder / "config.json", self.folder / "checkpoint.pt"
        self.samples, self.cache = self.folder / "samples", self.folder / "cache"
        self.log = self.folder / "log.jsonl"
        self._asked: dict[str, Any] = {
            "trainer": plan.trainer,
            "settings": described(plan.settings),
            "seed": plan.seed,
            "data": [str(path.absolute()) for path in plan.data],
            "out": str(plan.out.absolute()),
            "versions": versions(),
        }
        try:
            plan.out.parent.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir(parents=True, exist_ok=True)
            names = [name for name in os.listdir(self.folder) if "pictures-" not in name]
        except OSError as error:
            raise RunError(
                f"cannot make the work folder: {error}; choose one with --work"
            ) from None
        self._there = self._read()
        if names and self._there is None:
            raise RunError(
                f"the folder '{self.folder}' holds something else than a training; "
                "name a new one with --work"
            )
        self.resumes = self.checkpoint.is_file() and not plan.fresh
        self._refuse_others("trainer", "settings", "seed")

    def open(self, dataset: Dataset) -> dict[str, Any] | None:
        """The state to go on from, or None with a clean folder for a new training.

        Raises RunError if it would not be the same training, MissingError for a broken checkpoint.
        """
        self._asked |= {"pictures": len(dataset), "digest": dataset.digest}
        state = None
        if self.resumes:
            self._refuse_others("digest")
            state = self._load()
            self._shorten(int(state["step"]))
        else:
            self.checkpoint.unlink(missing_ok=True)
            self.log.unlink(missing_ok=True)
            shutil.rmtree(self.samples, ignore_errors=True)
            shutil.rmtree(self.cache, ignore_errors=True)
        self.cache.mkdir(exist_ok=True)
        write_whole(self.config, json.dumps(self._asked, indent=2) + "\n")
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Write the checkpoint, whole; RunError if there is no room, and the last one stays."""
        try:
            with whole(self.checkpoint) as part:
                torch.save(dict(state), part)
        except (OSError, RuntimeError) as error:
            raise RunError(
                f"the checkpoint cannot be written: {error}; the one before it is kept"
            ) from None

    def write_line(self, line: Mapping[str, Any]) -> None:
        """Append one object to the log."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite(line)) + "\n")

    def write_samples(self, step: int, images: Tensor) -> Path:
        """Write pictures `[N, 3, H, W]`, 0..1, as one grid."""
        self.samples.mkdir(exist_ok=True)
        path = self.samples / f"{step:06}.png"
        with whole(path) as part:
            to_pillow(to_uint8(grid(images))).save(part, "PNG")
        return path

    def _read(self) -> dict[str, Any] | None:
        """What the training that is here was asked for; None if there is none."""
        try:
            there = json.loads(self.config.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return there if isinstance(there, dict) and there.keys() >= _KEYS else None

    def _refuse_others(self, *keys: str) -> None:
        if not self.resumes or self._there is None:
            return
        found = [said for key in keys for said in _differences(key, self._there, self._asked)]
        if found:
            raise RunError(
                f"'{self.folder}' holds another training: {', '.join(found)}; "
                "add --fresh to start over, or name another folder with --work"
            )

    def _load(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = torch.load(self.checkpoint, "cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds for a damaged file
            raise MissingError(
                f"'{self.checkpoint}' cannot be read: {type(error).__name__}; "
                "add --fresh to start over"
            ) from None
        done, asked = int(state["step"]), self.plan.steps
        if done > asked:
            raise RunError(
                f"'{self.folder}' holds a training of {done} steps, more than {asked}; ask for "
                f"more with --steps, or add --fresh to start over"
            )
        return state

    def _shorten(self, step: int) -> None:
        """Drop the lines of steps that the checkpoint does not know; they come again."""
        if self.log.is_file():
            lines = self.log.read_text("utf-8").splitlines(keepends=True)
            kept = [line for line in lines if _is_before(line, step)]
            write_whole(self.log, "".join(kept))


def _is_before(line: str, step: int) -> bool:
    try:
        return bool(json.loads(line)["step"] <= step)
    except ValueError:  # it was cut short
        return False


_KEYS = {"trainer", "settings", "seed", "pictures", "digest"}


def _differences(key: str, there: Mapping[str, Any], asked: Mapping[str, Any]) -> Iterator[str]:
    """What differs between two trainings, in words; the number of steps may."""
    old, new = there[key], asked[key]
    if old == new:
        return
    if key == "settings":
        if there["trainer"] == asked["trainer"]:
            for name in {**old, **new}:
                if name != "steps" and old.get(name) != new.get(name):
                    yield f"{name} {_shown(old.get(name))} (now {_shown(new.get(name))})"
    elif key == "digest":
        before, now = there["pictures"], asked["pictures"]
        yield "other captions or pictures" if before == now else f"{before} pictures (now {now})"
    else:
        yield f"{key} {old} (now {new})"


def _shown(value: Any) -> str:
    return "''" if value == "" else json.dumps(value) if not isinstance(value, str) else value


def grid(images: Tensor) -> Tensor:
    """Pictures `[N, C, H, W]` as one `[3, H', W']` in rows of up to 8, white between them."""
    images = images.detach().float().cpu()[:, :3].expand(-1, 3, -1, -1)
    count, _, height, width = images.shape
    columns = min(count, COLUMNS)
    rows = math.ceil(count / columns)
    sheet = torch.ones(3, rows * (height + GAP) - GAP, columns * (width + GAP) - GAP)
    for index, image in enumerate(images):
        top, left = index // columns * (height + GAP), index % columns * (width + GAP)
        sheet[:, top : top + height, left : left + width] = image
    return sheet
