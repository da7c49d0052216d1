"""The model store: finds, downloads, verifies and removes models on this machine.

HOME is PIXWEAVE_HOME, or the platform's cache folder for pixweave:
  models/NAME/FILE    complete, verified files; `.FILE.part` is an unfinished download
  models.lock         sha256 of the first download of each file without a published sha256
  models.yaml         the user's entries of the catalogue
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from pixweave.errors import MissingError, RunError, did_you_mean
from pixweave.models import catalogue, open_clip_weights
from pixweave.models.catalogue import HUB, Model, ModelFile
from pixweave.models.fetch import Fault, Limits, fetch, forget, sync, writing
from pixweave.models.home_folder import home, offline_by

Report = Callable[[str, int, int | None], None]
"""Called with a file's name, its bytes so far, and its total (None: unknown)."""


@dataclass(frozen=True)
class ModelFiles:
    """The files of a model on this machine, by role."""

    name: str
    paths: Mapping[str, Path]

    @property
    def weights(self) -> Path:
        """The weights file; MissingError if the model has none."""
        if "weights" not in self.paths:
            raise MissingError(f"the model '{self.name}' has no file with the role 'weights'")
        return self.paths["weights"]

    @property
    def config(self) -> Path | None:
        """The configuration file of the model, if it has one."""
        return self.paths.get("config")


@dataclass(frozen=True)
class Check:
    """The result of `verify` for one file; `fault` is the error, empty if there is none."""

    model: str
    path: Path
    sha256: str
    fault: str = ""


@dataclass
class Store:
    """The models of one folder. Everything is read on first access; only `get` downloads.

    `offline` names what disables the network; empty: it is enabled.
    """

    home: Path = field(default_factory=home)
    offline: str = field(default_factory=offline_by)
    limits: Limits = field(default_factory=Limits)

    @cached_property
    def models(self) -> dict[str, Model]:
        """The catalogue: the entries of the package and of HOME/models.yaml."""
        return catalogue.load(self.home)

    def folder(self, name: str) -> Path:
        """The folder for the files of a model."""
        return self.home / "models" / self._key(name)

    def _key(self, name: str) -> str:
        """The name in the catalogue of a model that may be written `plugin/name`."""
        if "/" not in name or name in self.models:
            return name
        dotted, bare = name.replace("/", "."), name.rpartition("/")[2]
        return bare if name in catalogue.OFFERED_MODELS and dotted not in self.models else dotted

    def state(self, name: str) -> str:
        """`here`, `part` (some of it), or '' if nothing of a model is on this machine."""
        paths = [self._path(name, file) for file in self._model(name).files.values()]
        if all(path.is_file() for path in paths):
            return "here"
        partial = any(path.is_file() or _hidden(path, ".part").is_file() for path in paths)
        return "part" if partial else ""

    def path(self, name: str) -> ModelFiles:
        """The files of a model, without downloading; MissingError says how to get them."""
        if name.startswith(open_clip_weights.PREFIX):
            return ModelFiles(name, {"weights": open_clip_weights.path(name)})
        paths = {role: self._path(name, file) for role, file in self._model(name).files.items()}
        if absent := [path for path in paths.values() if not path.is_file()]:
            raise MissingError(self._absent(name, absent))
        return ModelFiles(name, paths)

    def get(self, name: str, report: Report | None = None) -> ModelFiles:
        """The verified files of a model; missing files are downloaded.

        A file is verified by the published sha256, or else by the one of its first download in
        models.lock. MissingError if the model is unknown, not on this machine while offline, or
        cannot be downloaded; RunError if a file has the wrong content or the disk is full.
        """
        report = report or (lambda file, done, total: None)
        if name.startswith(open_clip_weights.PREFIX):
            return ModelFiles(name, {"weights": open_clip_weights.get(name, self.offline)})
        files = self._model(name).files
        paths = {role: self._path(name, file) for role, file in files.items()}
        absent = [path for path in paths.values() if not path.is_file()]
        if absent and self.offline:
            raise MissingError(self._absent(name, absent))
        for role, file in files.items():
            path = paths[role]
            if self._is_verified(name, file, path):
                continue
            if path.is_file() and not os.access(path.parent, os.W_OK):
                self._verify(name, file, path)  # a read-only store, managed by others
                continue
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            with self._locked(path):
                self._ensure(name, file, path, report)
        return ModelFiles(name, paths)

    def verify(self, name: str) -> list[Check]:
        """Compare the sha256 of every file of a model on this machine; MissingError if none."""
        if name.startswith(open_clip_weights.PREFIX):
            path = open_clip_weights.path(name)
            digest, expected = sha256(path), open_clip_weights.expected(path)
            fault = f"the hub's cache has {expected}" if expected not in ("", digest) else ""
            return [Check(name, path, digest, fault)]
        checks = []
        for file in self._model(name).files.values():
            path = self._path(name, file)
            if not path.is_file():
                continue
            digest = sha256(path)
            checks.append(Check(name, path, digest, self._differs(name, file, path, digest)))
        if not checks:
            raise MissingError(self._absent(name, [self.folder(name)]))
        return checks

    def remove(self, name: str, unlock: bool = False) -> int:
        """Remove the files of a model; return the bytes freed. `unlock` also drops its sha256.

        A model that is no longer in the catalogue can still be removed by its name.
        """
        folder = self.folder(name)
        if name.startswith(open_clip_weights.PREFIX):
            raise RunError(
                f"'{name}' is in the cache of the Hugging Face hub, which is shared with other "
                "programs; remove it with `hf cache rm`"
            )
        if name not in self.models and not (catalogue.is_plain(name) and folder.is_dir()):
            self._model(name)
        freed = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        with writing(folder):
            if folder.is_dir():
                shutil.rmtree(folder)
            if unlock:
                with self._lock_file() as recorded:
                    recorded.pop(name, None)
        return freed

    def _model(self, name: str) -> Model:
        if (key := self._key(name)) in self.models:
            return self.models[key]
        hint = did_you_mean(name, self.models)
        raise MissingError(f"there is no model '{name}' in the catalogue; {hint}")

    def _path(self, name: str, file: ModelFile) -> Path:
        return self.folder(name) / file.name

    def _absent(self, name: str, absent: list[Path]) -> str:
        names = ", ".join(path.name for path in absent if path != self.folder(name))
        where = f"'{absent[0].parent if names else absent[0]}'"
        copy_hint = f"put {names} into {where}" if names else f"put its files into {where}"
        if self.offline:
            return (
                f"the model '{name}' is not on this machine, and the network is disabled by "
                f"{self.offline}; run `pixweave models get {name}` without it, or {copy_hint}"
            )
        return (
            f"the model '{name}' is not on this machine; run `pixweave models get {name}`, "
            f"or {copy_hint}"
        )

    def _ensure(self, name: str, file: ModelFile, path: Path, report: Report) -> None:
        """Download and verify the file, unless another process has done so meanwhile."""
        if path.is_file():
            self._accept_existing(name, file, path)
            return
        part, faults = _hidden(path, ".part"), []
        for url in file.mirrors:
            try:
                self._download(url, part, file, report)
                digest = sha256(part)
                if fault := self._differs(name, file, part, digest):
                    forget(part)
                    raise Fault(fault)
            except Fault as fault:
                faults.append(f"  {url}: {fault}")
                continue
            with writing(path):
                sync(part)
                self._record(name, file, digest, part.stat().st_size, url)
                os.replace(part, path)
                forget(part)
            self._mark_verified(path, digest)
            return
        raise MissingError(
            "\n".join(
                [
                    f"the file '{file.name}' of the model '{name}' could not be downloaded:",
                    *faults,
                    f"try again later, put it at '{path}' yourself, or add a mirror to "
                    f"'{self.home / 'models.yaml'}'",
                ]
            )
        )

    def _download(self, url: str, part: Path, file: ModelFile, report: Report) -> None:
        def report_file(done: int, total: int | None) -> None:
            report(file.name, done, total)

        if url.startswith(HUB):
            from pixweave.models import hub

            forget(part)
            hub.fetch(url, part, report_file, self.limits)
        else:
            fetch(url, part, report_file, self.limits, file.size)

    def _accept_existing(self, name: str, file: ModelFile, path: Path) -> None:
        """Verify an existing file that was put there by the user, or changed."""
        digest = self._verify(name, file, path)
        with writing(path):
            self._record(name, file, digest, path.stat().st_size, "a file that was there already")
        self._mark_verified(path, digest)

    def _verify(self, name: str, file: ModelFile, path: Path) -> str:
        """The sha256 of an existing file; RunError if it is not the expected one."""
        digest = sha256(path)
        if fault := self._differs(name, file, path, digest):
            raise RunError(
                f"'{path}' is not the file of the model '{name}': it {fault}; "
                f"run `pixweave models rm {name}` and get it again"
            )
        return digest

    def _differs(self, name: str, file: ModelFile, path: Path, digest: str) -> str:
        """The error of a file, as a phrase that follows its name; '' if there is none."""
        size = path.stat().st_size
        if file.size is not None and size != file.size:
            return f"has {size} bytes instead of {file.size}"
        if file.sha256:
            equal = digest == file.sha256
            return "" if equal else f"has sha256 {digest} instead of {file.sha256}"
        known = self._recorded().get(name, {}).get(file.name)
        if known and known["sha256"] != digest:
            return (
                f"has sha256 {digest} instead of {known['sha256']}, which models.lock recorded "
                f"on {known['date']}; `pixweave models rm --unlock {name}` accepts another"
            )
        return ""

    def _recorded(self) -> dict[str, dict[str, dict[str, Any]]]:
        lock = self.home / "models.lock"
        try:
            found = json.loads(lock.read_text("utf-8"))
            for files in found.values():
                for entry in files.values():
                    entry["sha256"], entry["date"]
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            raise RunError(
                f"'{lock}' is not a valid record of first downloads; "
                "fix it, or remove it to start again"
            ) from None
        return dict(found)

    def _record(self, name: str, file: ModelFile, digest: str, size: int, source: str) -> None:
        if file.sha256:
            return
        with self._lock_file() as recorded:
            entry = {
                "sha256": digest,
                "size": size,
                "source": source,
                "date": datetime.now(UTC).strftime("%Y-%m-%d"),
            }
            recorded.setdefault(name, {}).setdefault(file.name, entry)

    @contextlib.contextmanager
    def _lock_file(self) -> Iterator[dict[str, dict[str, dict[str, Any]]]]:
        """The content of models.lock, written back atomically; one process at a time."""
        from pixweave.media.atomic_write import write_whole

        self.home.mkdir(parents=True, exist_ok=True)
        with self._locked(self.home / "models.lock"):
            recorded = self._recorded()
            before = json.dumps(recorded)
            yield recorded
            if json.dumps(recorded) != before:
                text = json.dumps(recorded, indent=2, sort_keys=True) + "\n"
                write_whole(self.home / "models.lock", text)

    @contextlib.contextmanager
    def _locked(self, path: Path) -> Iterator[None]:
        from filelock import FileLock

        with writing(path):
            lock = FileLock(_hidden(path, ".lock"))
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _mark_verified(self, path: Path, digest: str) -> None:
        """Record that the file was verified in its current state, to avoid hashing it each time."""
        with contextlib.suppress(OSError):
            _hidden(path, ".checked").write_text(f"{digest} {_size_and_time(path)}", "utf-8")

    def _is_verified(self, name: str, file: ModelFile, path: Path) -> bool:
        try:
            digest, _, state = _hidden(path, ".checked").read_text("utf-8").partition(" ")
            unchanged = state == _size_and_time(path)
            return unchanged and not self._differs(name, file, path, digest)
        except OSError:
            return False


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size_and_time(path: Path) -> str:
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns}"


def _hidden(path: Path, suffix: str) -> Path:
    """The hidden companion file of a path, in the same folder."""
    return path.with_name(f".{path.name}{suffix}")
