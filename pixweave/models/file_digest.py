"""SHA-256 digests of weight files, cached on disk by path, size and modification time."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

from pixweave.models.home_folder import home


def file_digest(*paths: Path) -> str:
    """16 hexadecimal digits of the SHA-256 of these files together; OSError if one is unreadable.

    Hashing takes seconds for a gigabyte, so that digests are kept in `digests.json` of
    PIXWEAVE_HOME; a file of another size or modification time is hashed again.
    """
    stats = [(path.resolve(), path.stat()) for path in paths]
    key = "|".join(f"{path}/{stat.st_size}/{stat.st_mtime_ns}" for path, stat in stats)
    cache = home() / "digests.json"
    known: dict[str, str] = {}
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(cache.read_text("utf-8"))
    if key not in known:
        known[key] = _sha256(paths)[:16]
        with contextlib.suppress(OSError):
            from pixweave.media.atomic_write import write_whole

            cache.parent.mkdir(parents=True, exist_ok=True)
            write_whole(cache, json.dumps(known))
    return known[key]


def _sha256(paths: tuple[Path, ...]) -> str:
    import hashlib

    made = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                made.update(chunk)
    return made.hexdigest()
