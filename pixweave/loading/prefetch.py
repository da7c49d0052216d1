"""Read many pictures ahead of who uses them: worker threads, a bounded number, order kept."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from pixweave.loading.decode import Look, Picture, quiet_pillow, read_picture
from pixweave.loading.find_images import Fault, Found

AHEAD = 64
"""How many pictures may be read but not yet used; at 224 pixels they take 10 MB."""


def read_all(
    files: Iterable[Found | Fault],
    look: Look,
    skip: Callable[[bytes], bool] | None = None,
    workers: int = 0,
    ahead: int = AHEAD,
) -> Generator[tuple[Found | Fault, Picture | Fault], None, None]:
    """Each file with its Picture or Fault, in the order given; a Fault that comes in goes through.

    Decoding lets go of Python's lock, so threads share the work; 0 workers: one for each core that
    this process may use. `files` is drawn from only `ahead` items in advance, and `skip(digest)` is
    called in the threads. Close the generator to stop early.
    """
    waiting: deque[tuple[Found | Fault, Future[Picture | Fault] | Fault]] = deque()
    source = iter(files)
    pool = ThreadPoolExecutor(workers or cores(), thread_name_prefix="pixweave-read")

    def draw(count: int) -> None:
        for file in islice(source, count):
            if isinstance(file, Fault):
                waiting.append((file, file))
            else:
                waiting.append((file, pool.submit(read_picture, file.path, look, skip)))

    with quiet_pillow():
        try:
            draw(ahead)
            while waiting:
                file, job = waiting.popleft()
                yield file, job if isinstance(job, Fault) else job.result()
                draw(1)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
