"""Shards: pieces of an index update for workers, and the journal of finished shards.

A shard is some hundred files with their sizes and times, the model and its preprocessing; its name
is a digest of these. Its result is one file of the journal, a folder in the index. A worker with
access to that folder writes the file itself, so that it survives the process that sent the shard.
It stays in the journal until it is in SQLite; every update begins by merging the journal.
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
"""Seconds after which an unfinished file is deleted."""


def shard_name(model: Model, files: Iterable[ImageFile]) -> str:
    """The name of the shard of these files, equal for equal results."""
    parts = [(file.path, file.size, file.mtime_ns) for file in files]
    text = json.dumps([model.identity, model.preprocessing, parts])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def encode(arguments: Mapping[str, Any]) -> tuple[bytes, str]:
    """Process a shard in a worker; return its record, and the embedder's info line.

    `arguments`: `embedder` (see `_worker_embedder`), the `model`, the `files`, the `known` digests,
    the images per `batch`, the number of `readers` (0: this worker's threads), and the `name`,
    `journal` folder and its `token` for storing the record. RunError if the worker's perceptor is
    not the one of the index.
    """
    from pixweave.loading import Preprocessing
    from pixweave.workers.tasks import reading_threads

    model: Model = arguments["model"]
    embedder = _worker_embedder(arguments["embedder"])
    if embedder.identity != model.identity:
        raise RunError(
            f"a worker has the perceptor {embedder.identity}, the index {model.identity}; "
            "install the same pixweave, plugins and weights on all worker machines"
        )
    known = {*arguments["known"]}

    def is_known(digest: bytes) -> bool:
        return digest in known

    preprocessing = Preprocessing.of_key(model.preprocessing)
    rows: list[Row] = []
    readers = arguments["readers"] or reading_threads()
    for batch in encode_rows(
        arguments["files"], preprocessing, embedder, is_known, readers, arguments["batch"]
    ):
        rows += batch
        known.update(
            image.digest
            for _, image, vectors in batch
            if vectors is not None and not isinstance(image, UnreadableImage)
        )
    record = pack(model, rows)
    journal = Journal(Path(arguments["journal"]))
    if journal.is_the_one(arguments["token"]):
        journal.keep(arguments["name"], record)
    return record, embedder.info if any(row[2] is not None for row in rows) else ""


@functools.lru_cache(maxsize=1)
def _worker_embedder(text: str) -> Embedder:
    """The embedder of a worker, from JSON with plugins, perceptor, device and precision."""
    from pixweave.engine.embedders import open_embedder
    from pixweave.plugins import Plugins

    options = json.loads(text)
    plugins = Plugins.of(options["plugins"])
    return open_embedder(plugins, options["perceptor"], options["device"], options["precision"])


def pack(model: Model, rows: list[Row]) -> bytes:
    """The rows as one safetensors file: vectors in float16, the rest as JSON."""
    import numpy as np
    from safetensors.numpy import save

    lines, vectors = [], []
    for file, image, encoded in rows:
        size, mtime = (file.size, file.mtime_ns) if isinstance(file, ImageFile) else (-1, 0)
        line = {"path": image.path, "size": size, "mtime": mtime}
        if isinstance(image, UnreadableImage):
            line["reason"] = image.reason
        else:
            line |= {
                "digest": image.digest.hex(),
                "frames": image.frames,
                "width": image.width,
                "height": image.height,
                "format": image.format,
                "taken": image.taken,
                "vectors": 0 if encoded is None else len(encoded),
            }
        if encoded is not None:
            vectors.append(encoded.astype(np.float16))
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
    """The result of a shard: the model of its vectors, and the rows."""

    identity: str
    preprocessing: str
    dim: int
    perceptor: str
    rows: list[Row]


def unpack(data: bytes) -> ShardRecord:
    """The record in the bytes of a journal file; ValueError if they are corrupt."""
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
            file = ImageFile(path, size, mtime)
            if "reason" in line:
                rows.append((file, UnreadableImage(path, line["reason"]), None))
                continue
            image = DecodedImage(
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
            rows.append((file, image, vectors[start:end] if end > start else None))
            start = end
        return ShardRecord(head["identity"], head["look"], head["dim"], head["perceptor"], rows)
    except (KeyError, TypeError, SafetensorError) as error:
        raise ValueError(f"this is not a shard: {error}") from None


class Journal:
    """The folder of finished shards that are not yet in SQLite."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self) -> str:
        """Create it; return the token by which a worker checks that it has the same folder."""
        self.folder.mkdir(exist_ok=True)
        token = self.folder / "token"
        with contextlib.suppress(FileExistsError), token.open("x") as file:
            file.write(os.urandom(16).hex())
        return token.read_text()

    def is_the_one(self, token: str) -> bool:
        """Whether it is the folder with that token, and not another with the same path."""
        try:
            return (self.folder / "token").read_text() == token != ""
        except OSError:
            return False

    def keep(self, name: str, record: bytes) -> None:
        """Write a finished shard atomically, unless it exists already."""
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
        """The names of the shards in it; old unfinished files are deleted."""
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
        """The record of a finished shard; None if missing, or if corrupt (then it is deleted)."""
        try:
            return unpack((self.folder / f"{name}{SUFFIX}").read_bytes())
        except FileNotFoundError:
            return None
        except ValueError:
            self.drop(name)
            return None

    def drop(self, name: str) -> None:
        """Delete a shard, once it is in SQLite."""
        (self.folder / f"{name}{SUFFIX}").unlink(missing_ok=True)
