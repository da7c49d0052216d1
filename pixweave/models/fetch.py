"""Download a file over HTTP to a part file; a later call resumes it if the file is unchanged.

httpx2 honours HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY; it is imported on first use.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixweave.errors import RunError
from pixweave.models.catalogue import in_bytes

if TYPE_CHECKING:
    import httpx2

Report = Callable[[int, int | None], None]
"""Called with the number of bytes so far and in total; the total is None while unknown."""

REDIRECTS = 10
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class Limits:
    """Timeouts and retries of a download."""

    connect: float = 10.0
    """Seconds to wait for a connection."""
    stall: float = 30.0
    """Seconds without data after which a mirror counts as stalled."""
    tries: int = 3
    """Attempts with each mirror; each resumes where the previous one stopped."""
    pause: float = 1.0
    """Seconds to wait before the second attempt, doubled each time."""


class Fault(Exception):  # noqa: N818
    """The error of one mirror; `again`: another attempt may succeed."""

    def __init__(self, message: str, again: bool = False) -> None:
        super().__init__(message)
        self.again = again


def fetch(url: str, part: Path, report: Report, limits: Limits, size: int | None = None) -> None:
    """Download all of `url` to `part`; `size` is the expected number of bytes, if known.

    Fault if this mirror did not deliver the file; RunError if the disk is full or not writable.
    """
    for attempt in range(limits.tries):
        try:
            return _attempt(url, part, report, limits, size)
        except Fault as fault:
            if not fault.again or attempt + 1 == limits.tries:
                raise
            time.sleep(limits.pause * 2**attempt)


def forget(part: Path) -> None:
    """Remove a part file and its note with the address that it came from."""
    for path in (part, _note(part)):
        path.unlink(missing_ok=True)


def _attempt(url: str, part: Path, report: Report, limits: Limits, size: int | None) -> None:
    import httpx2

    timeout = httpx2.Timeout(limits.stall, connect=limits.connect)
    start, validator = _resumable(url, part)
    headers = {"Accept-Encoding": "identity", "User-Agent": "pixweave"}
    if validator:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    try:
        with (
            httpx2.Client(
                timeout=timeout, follow_redirects=True, max_redirects=REDIRECTS
            ) as client,
            client.stream("GET", url, headers=headers) as answer,
        ):
            _receive(answer, url, part, start, report, size)
    except httpx2.TooManyRedirects:
        raise Fault(f"too many redirects (more than {REDIRECTS})") from None
    except httpx2.ConnectTimeout:
        raise Fault(f"no connection within {limits.connect:g} s", again=True) from None
    except httpx2.TimeoutException:
        raise Fault(f"no data for {limits.stall:g} s", again=True) from None
    except httpx2.ProxyError as error:
        raise Fault(f"the proxy refused the request: {error}") from None
    except httpx2.RemoteProtocolError:
        raise Fault(f"the connection was lost after {_size(part)}", again=True) from None
    except httpx2.TransportError as error:
        reason = str(error) or type(error).__name__
        raise Fault(f"no connection: {reason}", again=True) from None
    except (httpx2.InvalidURL, httpx2.HTTPError) as error:
        raise Fault(f"invalid address or response: {error}") from None


def _receive(
    answer: httpx2.Response, url: str, part: Path, start: int, report: Report, size: int | None
) -> None:
    begin = _begin(answer, part, start)
    if begin is None:
        return
    length = answer.headers.get("Content-Length", "")
    total = begin + int(length) if length.isdigit() else None
    if size is not None and total not in (None, size):
        raise Fault(f"has {total} bytes instead of {size}")
    with writing(part):
        _check_space(part, None if total is None else total - begin)
        if not begin:
            forget(part)
            _write_note(part, url, answer.headers)
        done = begin
        report(done, total or size)
        with part.open("ab") as file:
            for chunk in answer.iter_raw():
                file.write(chunk)
                done += len(chunk)
                report(done, total or size)
    if total is not None and done != total:
        raise Fault(f"the connection was lost after {in_bytes(done)}", again=True)
    if size is not None and done != size:
        forget(part)
        raise Fault(f"has {done} bytes instead of {size}")


def _begin(answer: httpx2.Response, part: Path, start: int) -> int | None:
    """The byte at which the body begins; None if the download is already complete."""
    status = answer.status_code
    found = re.fullmatch(
        r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", answer.headers.get("Content-Range", "")
    )
    if status == 416 and start:
        if found and found[2] == str(start):
            return None
        forget(part)
        raise Fault("the partial download does not match the file on the server", again=True)
    if status == 206:
        if not start or not found or found[1] != str(start):
            forget(part)
            raise Fault("sends another range than requested", again=True)
    elif status != 200:
        again = status in (408, 425, 429) or status >= 500
        raise Fault(f"{status} {answer.reason_phrase}".rstrip(), again)
    kind = answer.headers.get("Content-Type", "")
    if kind.startswith("text/html"):
        raise Fault("sends a web page instead of the file")
    coding = answer.headers.get("Content-Encoding", "identity")
    if coding != "identity":
        raise Fault(f"sends the file encoded as {coding}, which was not requested")
    return start if status == 206 else 0


def _resumable(url: str, part: Path) -> tuple[int, str]:
    """The number of bytes to resume from, and the validator of the unchanged file; or (0, "")."""
    try:
        note = json.loads(_note(part).read_text("utf-8"))
        start = part.stat().st_size
    except (OSError, ValueError):
        return 0, ""
    if not isinstance(note, dict) or note.get("url") != url or not start:
        return 0, ""
    validator = str(note.get("validator") or "")
    return (start, validator) if validator else (0, "")


def _write_note(part: Path, url: str, headers: Any) -> None:
    tag = headers.get("ETag", "")
    strong = tag if tag.startswith('"') else ""  # a weak one does not guarantee equal bytes
    note = {"url": url, "validator": strong or headers.get("Last-Modified", "")}
    _note(part).write_text(json.dumps(note), "utf-8")


def _note(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _size(part: Path) -> str:
    return in_bytes(part.stat().st_size if part.exists() else 0)


def _check_space(part: Path, needed: int | None) -> None:
    free = shutil.disk_usage(part.parent).free
    if needed is not None and needed > free:
        raise OSError(errno.ENOSPC, f"{in_bytes(needed)} are needed and {in_bytes(free)} are free")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns disk errors into a RunError with a hint."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            message = f"'{path.parent}' cannot be written: {error.strerror or error}"
            raise RunError(f"{message}; set PIXWEAVE_HOME to another folder") from None
        reason = error.strerror if " are needed" in str(error.strerror) else "no space is left"
        raise RunError(
            f"the disk of '{path.parent}' is full: {reason}; free some space, or set "
            "PIXWEAVE_HOME to another folder, and get the model again: what was downloaded is kept"
        ) from None


def sync(path: Path) -> None:
    """Flush a file to the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
