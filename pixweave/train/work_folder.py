"""The work folder of a training: its configuration, checkpoint, log and samples.

config.json      trainer, settings, seed, data and versions
checkpoint.pt    all that a resumed run needs
log.jsonl        regular lines with the mean metrics of the steps and the measures
samples/         a grid of images for every checkpoint
cache/           files of the trainer
pictures-*/    the images at the trainer's size
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
"""Maximum number of images in a row of a sample grid."""

GAP = 2
"""Pixels between the images of a grid."""


class Work:
    """The work folder of one training; RunError if it cannot be created or has other content."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.folder = plan, plan.work
        self.config, self.checkpoint = self.folder / "config.json", self.folder / "checkpoint.pt"
        self.samples, self.cache = self.folder / "samples", self.folder / "cache"
        self.log = self.folder / "log.jsonl"
        self._requested: dict[str, Any] = {
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
                f"the work folder cannot be created: {error}; choose another with --work"
            ) from None
        self._existing = self._read()
        if names and self._existing is None:
            raise RunError(
                f"the folder '{self.folder}' has content that is not a training; "
                "name a new one with --work"
            )
        self.resumes = self.checkpoint.is_file() and not plan.fresh
        self._refuse_others("trainer", "settings", "seed")

    def open(self, dataset: Dataset) -> dict[str, Any] | None:
        """The state to resume from, or None with a clean folder for a new training.

        Raises RunError if the folder has another training, MissingError for a corrupt checkpoint.
        """
        self._requested |= {"pictures": len(dataset), "digest": dataset.digest}
        state = None
        if self.resumes:
            self._refuse_others("digest")
            state = self._load()
            self._truncate_log(int(state["step"]))
        else:
            self.checkpoint.unlink(missing_ok=True)
            self.log.unlink(missing_ok=True)
            shutil.rmtree(self.samples, ignore_errors=True)
            shutil.rmtree(self.cache, ignore_errors=True)
        self.cache.mkdir(exist_ok=True)
        write_whole(self.config, json.dumps(self._requested, indent=2) + "\n")
        return state

    def save(self, state: Mapping[str, Any]) -> None:
        """Replace the checkpoint; if that fails, RunError, and the previous one is kept."""
        try:
            with whole(self.checkpoint) as part:
                torch.save(dict(state), part)
        except (OSError, RuntimeError) as error:
            raise RunError(
                f"the checkpoint cannot be written: {error}; the previous one is kept"
            ) from None

    def write_line(self, line: Mapping[str, Any]) -> None:
        """Append one object to the log."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(finite(line)) + "\n")

    def write_samples(self, step: int, images: Tensor) -> Path:
        """Write images `[N, 3, H, W]`, 0..1, as one grid; returns its path."""
        self.samples.mkdir(exist_ok=True)
        path = self.samples / f"{step:06}.png"
        with whole(path) as part:
            to_pillow(to_uint8(grid(images))).save(part, "PNG")
        return path

    def _read(self) -> dict[str, Any] | None:
        """The configuration of the training in this folder; None if there is none."""
        try:
            config = json.loads(self.config.read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return config if isinstance(config, dict) and config.keys() >= _KEYS else None

    def _refuse_others(self, *keys: str) -> None:
        if not self.resumes or self._existing is None:
            return
        found = [
            text for key in keys for text in _differences(key, self._existing, self._requested)
        ]
        if found:
            raise RunError(
                f"'{self.folder}' contains another training: {', '.join(found)}; "
                "add --fresh to start over, or name another folder with --work"
            )

    def _load(self) -> dict[str, Any]:
        try:
            state: dict[str, Any] = torch.load(self.checkpoint, "cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds of errors for a corrupt file
            raise MissingError(
                f"'{self.checkpoint}' cannot be read: {type(error).__name__}; "
                "add --fresh to start over"
            ) from None
        done, steps = int(state["step"]), self.plan.steps
        if done > steps:
            raise RunError(
                f"'{self.folder}' contains a training of {done} steps, more than {steps}; ask for "
                f"more with --steps, or add --fresh to start over"
            )
        return state

    def _truncate_log(self, step: int) -> None:
        """Drop the log lines after the checkpoint's step; they will be written again."""
        if self.log.is_file():
            lines = self.log.read_text("utf-8").splitlines(keepends=True)
            kept = [line for line in lines if _is_before(line, step)]
            write_whole(self.log, "".join(kept))


def _is_before(line: str, step: int) -> bool:
    try:
        return bool(json.loads(line)["step"] <= step)
    except ValueError:  # a truncated line
        return False


_KEYS = {"trainer", "settings", "seed", "pictures", "digest"}


def _differences(
    key: str, existing: Mapping[str, Any], requested: Mapping[str, Any]
) -> Iterator[str]:
    """Descriptions of the differences between two trainings; the number of steps is ignored."""
    old, new = existing[key], requested[key]
    if old == new:
        return
    if key == "settings":
        if existing["trainer"] == requested["trainer"]:
            for name in {**old, **new}:
                if name != "steps" and old.get(name) != new.get(name):
                    yield f"{name} {_shown(old.get(name))} (now {_shown(new.get(name))})"
    elif key == "digest":
        before, now = existing["pictures"], requested["pictures"]
        yield "other captions or images" if before == now else f"{before} images (now {now})"
    else:
        yield f"{key} {old} (now {new})"


def _shown(value: Any) -> str:
    return "''" if value == "" else json.dumps(value) if not isinstance(value, str) else value


def grid(images: Tensor) -> Tensor:
    """Images `[N, C, H, W]` as one image `[3, H', W']`, in rows of up to 8, with white gaps."""
    images = images.detach().float().cpu()[:, :3].expand(-1, 3, -1, -1)
    count, _, height, width = images.shape
    columns = min(count, COLUMNS)
    rows = math.ceil(count / columns)
    sheet = torch.ones(3, rows * (height + GAP) - GAP, columns * (width + GAP) - GAP)
    for index, image in enumerate(images):
        top, left = index // columns * (height + GAP), index % columns * (width + GAP)
        sheet[:, top : top + height, left : left + width] = image
    return sheet
