"""The models on this machine: found, fetched, checked and removed.

HOME is PIXWEAVE_HOME, or the platform's cache folder for pixweave:
  models/NAME/FILE    the files, whole and checked; `.FILE.part` is one that is still being fetched
  models.lock         what the first download of each file was, where nobody has published its hash
  models.yaml         the user's own entries of the catalogue
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
"""Told the name of a file, how many bytes of it are there, and of how many (None: not known)."""


@dataclass(frozen=True)
class ModelFiles:
    """A model that is on this machine: its files by role."""

    name: str
    paths: Mapping[str, Path]

    @property
    def weights(self) -> Path:
        """The file of the weights; MissingError if the model has none."""
        if "weights" not in self.paths:
            raise MissingError(f"the model '{self.name}' has no file of the role 'weights'")
        return self.paths["weights"]

    @property
    def config(self) -> Path | None:
        """The file that says how to build the model, if it has one."""
        return self.paths.get("config")


@dataclass(frozen=True)
class Check:
    """What `verify` found of one file: `fault` is empty when it is as it should be."""

    model: str
    path: Path
    sha256: str
    fault: str = ""


@dataclass
class Store:
    """The models of one folder. Nothing is read before it is asked for, nothing fetched but by get.

    `offline` says why the network is forbidden; empty: it is not.
    """

    home: Path = field(default_factory=home)
    offline: str = field(default_factory=offline_by)
    limits: Limits = field(default_factory=Limits)

    @cached_property
    def models(self) -> dict[str, Model]:
        """The catalogue: the package's entries and those of HOME/models.yaml."""
        return catalogue.load(self.home)

    def folder(self, name: str) -> Path:
        """Where the files of a model lie, or would."""
        return self.home / "models" / name

    def state(self, name: str) -> str:
        """`here`, `part` (some of it), or '' when nothing of a model is on this machine."""
        there = [self._path(name, file) for file in self._model(name).files.values()]
        if all(path.is_file() for path in there):
            return "here"
        begun = any(path.is_file() or _beside(path, ".part").is_file() for path in there)
        return "part" if begun else ""

    def path(self, name: str) -> ModelFiles:
        """The files of a model, without fetching; MissingError says how to get them."""
        if name.startswith(open_clip_weights.PREFIX):
            return ModelFiles(name, {"weights": open_clip_weights.path(name)})
        paths = {role: self._path(name, file) for role, file in self._model(name).files.items()}
        if absent := [path for path in paths.values() if not path.is_file()]:
            raise MissingError(self._absent(name, absent))
        return ModelFiles(name, paths)

    def get(self, name: str, report: Report | None = None) -> ModelFiles:
        """The files of a model, checked; what is not there is fetched.

        A file is checked against the published sha256, else against what models.lock recorded of
        its first download. MissingError when the model is unknown, offline or cannot be fetched;
        RunError when a file is not what it should be or the disk is full.
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
            if self._stamped(name, file, path):
                continue
            if path.is_file() and not os.access(path.parent, os.W_OK):
                self._refuse_wrong(name, file, path)  # a store that others keep for us
                continue
            with writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
            with self._locked(path):
                self._bring(name, file, path, report)
        return ModelFiles(name, paths)

    def verify(self, name: str) -> list[Check]:
        """Read every file of a model that is there and compare its sha256; MissingError if none."""
        if name.startswith(open_clip_weights.PREFIX):
            path = open_clip_weights.path(name)
            digest, expected = sha256(path), open_clip_weights.expected(path)
            fault = f"the hub's cache says {expected}" if expected not in ("", digest) else ""
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
        """Remove what is here of a model, bytes returned; `unlock` forgets its hashes too.

        A model that has left the catalogue can be removed by its name still.
        """
        folder = self.folder(name)
        if name.startswith(open_clip_weights.PREFIX):
            raise RunError(
                f"'{name}' lies in the cache of the Hugging Face hub, which other "
                "programs share; remove it with `hf cache rm`"
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
        if name in self.models:
            return self.models[name]
        hint = did_you_mean(name, self.models)
        raise MissingError(f"there is no model '{name}' in the catalogue; {hint}")

    def _path(self, name: str, file: ModelFile) -> Path:
        return self.folder(name) / file.name

    def _absent(self, name: str, absent: list[Path]) -> str:
        names = ", ".join(path.name for path in absent if path != self.folder(name))
        where = f"'{absent[0].parent if names else absent[0]}'"
        bring = f"put {names} into {where}" if names else f"put its files into {where}"
        if self.offline:
            return (
                f"the model '{name}' is not on this machine, and the network is forbidden by "
                f"{self.offline}; run `pixweave models get {name}` without it, or {bring}"
            )
        return (
            f"the model '{name}' is not on this machine; run `pixweave models get {name}`, "
            f"or {bring}"
        )

    def _bring(self, name: str, file: ModelFile, path: Path, report: Report) -> None:
        """Have the file there and checked; another process may have fetched it meanwhile."""
        if path.is_file():
            self._accept_own(name, file, path)
            return
        part, faults = _beside(path, ".part"), []
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
            self._stamp(path, digest)
            return
        raise MissingError(
            "\n".join(
                [
                    f"the file '{file.name}' of the model '{name}' could not be fetched:",
                    *faults,
                    f"try again later, put it at '{path}' yourself, or add a mirror to "
                    f"'{self.home / 'models.yaml'}'",
                ]
            )
        )

    def _download(self, url: str, part: Path, file: ModelFile, report: Report) -> None:
        def tell(done: int, total: int | None) -> None:
            report(file.name, done, total)

        if url.startswith(HUB):
            from pixweave.models import hub

            forget(part)
            hub.fetch(url, part, tell, self.limits)
        else:
            fetch(url, part, tell, self.limits, file.size)

    def _accept_own(self, name: str, file: ModelFile, path: Path) -> None:
        """Check a file that is there but was not stamped: put there by hand, or changed."""
        digest = self._refuse_wrong(name, file, path)
        with writing(path):
            self._record(name, file, digest, path.stat().st_size, "a file that was there already")
        self._stamp(path, digest)

    def _refuse_wrong(self, name: str, file: ModelFile, path: Path) -> str:
        """The sha256 of a file that is there; RunError when it is another than expected."""
        digest = sha256(path)
        if fault := self._differs(name, file, path, digest):
            raise RunError(
                f"'{path}' is not the file of the model '{name}': it {fault}; "
                f"run `pixweave models rm {name}` and get it again"
            )
        return digest

    def _differs(self, name: str, file: ModelFile, path: Path, digest: str) -> str:
        """What is wrong with a file, in words that follow its name; '' if nothing."""
        size = path.stat().st_size
        if file.size is not None and size != file.size:
            return f"has {size} bytes instead of {file.size}"
        if file.sha256:
            right = digest == file.sha256
            return "" if right else f"has sha256 {digest} instead of {file.sha256}"
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
                f"'{lock}' cannot be read as the record of first downloads; "
                "mend it, or remove it to begin anew"
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
        """The content of models.lock, written back whole; one process at a time."""
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
            lock = FileLock(_beside(path, ".lock"))
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _stamp(self, path: Path, digest: str) -> None:
        """Note that the file was checked as it is now, so that it need not be hashed each time."""
        with contextlib.suppress(OSError):
            _beside(path, ".checked").write_text(f"{digest} {_looks(path)}", "utf-8")

    def _stamped(self, name: str, file: ModelFile, path: Path) -> bool:
        try:
            digest, _, looks = _beside(path, ".checked").read_text("utf-8").partition(" ")
            return looks == _looks(path) and not self._differs(name, file, path, digest)
        except OSError:
            return False


def sha256(path: Path) -> str:
    """The SHA-256 of a file, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _looks(path: Path) -> str:
    found = path.stat()
    return f"{found.st_size} {found.st_mtime_ns}"


def _beside(path: Path, end: str) -> Path:
    return path.with_name(f".{path.name}{end}")
