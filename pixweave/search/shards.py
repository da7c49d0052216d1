"""Shards: pieces of an index run that any worker can do, and the journal of those that are done.

A shard is some hundred files with their sizes and times, the model and the way of reading; its name
is a digest of these. What came of it is one file of the journal, a folder in the index, where the
worker that sees it puts it by itself: it outlives the one who sent the work. It is in the journal
until it is in SQLite, and every run begins with what it finds there, whoever left it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixweave.errors import RunError
from pixweave.loading import ImageFile, UnreadableImage
from pixweave.search.index_rows import encode_rows

if TYPE_CHECKING:
    from pixweave.embedding.embedder import Embedder
    from pixweave.search.index_rows import Row
    from pixweave.search.index_store import Model

ENCODE = "pixweave.search.shards:encode"
SUFFIX = ".shard"
STALE = 3600.0
"""Seconds after which a file that nobody finished writing is rubbish."""


def shard_name(model: Model, files: Iterable[ImageFile]) -> str:
    """The name of the shard of these files: equal where the result would be."""
    parts = [(file.path, file.size, file.mtime_ns) for file in files]
    text = json.dumps([model.identity, model.preprocessing, parts])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def encode(what: Mapping[str, Any]) -> tuple[bytes, str]:
    """Do a shard, in a worker: its record, and a line about what saw the pictures.

    `what`: `seer` (see `_worker_embedder`), the `model`, the `files`, digests that are `known`, the
    pictures in a
    `batch`, `readers` (0: this worker's threads), and the `name` and the `ledger` to keep it in.
    """
    from pixweave.loading import Preprocessing
    from pixweave.workers.tasks import reading_threads

    model: Model = what["model"]
    embedder = _worker_embedder(what["seer"])
    if embedder.identity != model.identity:
        raise RunError(
            f"a worker sees with {embedder.identity}, the index with {model.identity}; "
            "install the same pixweave, plugins and weights wherever work is done"
        )
    known = {*what["known"]}

    def is_known(digest: bytes) -> bool:
        return digest in known

    preprocessing = Preprocessing.of_key(model.preprocessing)
    rows: list[Row] = []
    readers = what["readers"] or reading_threads()
    for batch in encode_rows(
        what["files"], preprocessing, embedder, is_known, readers, what["batch"]
    ):
        rows += batch
        known.update(
            got.digest
            for _, got, vectors in batch
            if vectors is not None and not isinstance(got, UnreadableImage)
        )
    record = pack(model, rows)
    journal = Journal(Path(what["ledger"]))
    if journal.is_the_one(what["token"]):
        journal.keep(what["name"], record)
    return record, embedder.info if any(row[2] is not None for row in rows) else ""


@functools.lru_cache(maxsize=1)
def _worker_embedder(text: str) -> Embedder:
    """The embedder of a worker, as JSON says it: plugins, perceptor, device, precision."""
    from pixweave.engine.embedders import open_embedder
    from pixweave.plugins import Plugins

    told = json.loads(text)
    plugins = Plugins.of(told["plugins"])
    return open_embedder(plugins, told["perceptor"], told["device"], told["precision"])


def pack(model: Model, rows: list[Row]) -> bytes:
    """The rows as one safetensors file: vectors in float16, the rest as JSON."""
    import numpy as np
    from safetensors.numpy import save

    lines, vectors = [], []
    for found, got, mine in rows:
        size, mtime = (found.size, found.mtime_ns) if isinstance(found, ImageFile) else (-1, 0)
        line = {"path": got.path, "size": size, "mtime": mtime}
        if isinstance(got, UnreadableImage):
            line["reason"] = got.reason
        else:
            line |= {
                "digest": got.digest.hex(),
                "frames": got.frames,
                "width": got.width,
                "height": got.height,
                "format": got.format,
                "taken": got.taken,
                "vectors": 0 if mine is None else len(mine),
            }
        if mine is not None:
            vectors.append(mine.astype(np.float16))
        lines.append(line)
    stack = np.concatenate(vectors) if vectors else np.empty((0, model.dim), np.float16)
    head = {
        "identity": model.identity,
        "look": model.preprocessing,
        "dim": model.dim,
        "perceptor": model.perceptor,
        "rows": lines,
    }
    return save({"vectors": stack}, {"shard": json.dumps(head)})


@dataclass(frozen=True)
class ShardRecord:
    """What a shard gave: whose vectors, and the rows."""

    identity: str
    preprocessing: str
    dim: int
    perceptor: str
    rows: list[Row]


def unpack(data: bytes) -> ShardRecord:
    """The record in the bytes of a journal file; ValueError if they are none."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    from pixweave.loading import DecodedImage

    try:
        length = int.from_bytes(data[:8], "little")
        head = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["shard"])
        vectors, start = load(data)["vectors"], 0
        rows: list[Row] = []
        for line in head["rows"]:
            path, size, mtime = line["path"], line["size"], line["mtime"]
            found = ImageFile(path, size, mtime)
            if "reason" in line:
                rows.append((found, UnreadableImage(path, line["reason"]), None))
                continue
            got = DecodedImage(
                path,
                bytes.fromhex(line["digest"]),
                None,
                tuple(line["frames"]),
                line["width"],
                line["height"],
                line["format"],
                line["taken"],
            )
            end = start + line["vectors"]
            rows.append((found, got, vectors[start:end] if end > start else None))
            start = end
        return ShardRecord(head["identity"], head["look"], head["dim"], head["perceptor"], rows)
    except (KeyError, TypeError, SafetensorError) as error:
        raise ValueError(f"this is no shard: {error}") from None


class Journal:
    """The folder of finished shards that are not in SQLite yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self) -> str:
        """Make it; gives the token by which a worker knows that it sees the same folder."""
        self.folder.mkdir(exist_ok=True)
        mark = self.folder / "token"
        with contextlib.suppress(FileExistsError), mark.open("x") as file:
            file.write(os.urandom(16).hex())
        return mark.read_text()

    def is_the_one(self, token: str) -> bool:
        """Whether it is the folder with that token, and not another of the same name."""
        try:
            return (self.folder / "token").read_text() == token != ""
        except OSError:
            return False

    def keep(self, name: str, record: bytes) -> None:
        """Put a finished shard in, whole, unless it is there."""
        path = self.folder / f"{name}{SUFFIX}"
        if path.exists():
            return
        part = self.folder / f".{name}.{os.urandom(4).hex()}.part"
        try:
            part.write_bytes(record)
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)

    def names(self) -> list[str]:
        """The shards in it; what was left half written long ago is swept out."""
        try:
            entries = sorted(os.scandir(self.folder), key=lambda entry: entry.name)
        except FileNotFoundError:
            return []
        for entry in entries:
            with contextlib.suppress(OSError):
                if entry.name.endswith(".part") and time.time() - entry.stat().st_mtime > STALE:
                    os.unlink(entry)
        return [e.name.removesuffix(SUFFIX) for e in entries if e.name.endswith(SUFFIX)]

    def read(self, name: str) -> ShardRecord | None:
        """The record of a finished shard; None where it is not there, or is spoilt and dropped."""
        try:
            return unpack((self.folder / f"{name}{SUFFIX}").read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            self.drop(name)
            return None

    def drop(self, name: str) -> None:
        """Take a shard out: it is in SQLite now."""
        (self.folder / f"{name}{SUFFIX}").unlink(missing_ok=True)
