"""Prefetch: decode images ahead of their use in worker threads; bounded, in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

from pixweave.loading.decode import DecodedImage, Preprocessing, decode_image, quiet_pillow
from pixweave.loading.image_files import ImageFile, UnreadableImage
from pixweave.workers.tasks import available_cores

AHEAD = 64
"""How many images may be decoded but not yet used; at 224 pixels they take 10 MB."""


def read_images(
    files: Iterable[ImageFile | UnreadableImage],
    look: Preprocessing,
    skip: Callable[[bytes], bool] | None = None,
    workers: int = 0,
    ahead: int = AHEAD,
) -> Generator[tuple[ImageFile | UnreadableImage, DecodedImage | UnreadableImage], None, None]:
    """Each file with its decoded image, in the order given; unreadable ones are passed through.

    Decoding releases Python's GIL, so threads run in parallel; 0 `workers`: one for each core that
    this process may use. `files` is read at most `ahead` items in advance, and `skip(digest)` is
    called in the threads. Close the generator to stop early.
    """
    waiting: deque[
        tuple[ImageFile | UnreadableImage, Future[DecodedImage | UnreadableImage] | UnreadableImage]
    ] = deque()
    source = iter(files)
    pool = ThreadPoolExecutor(workers or available_cores(), thread_name_prefix="pixweave-read")

    def draw(count: int) -> None:
        for file in islice(source, count):
            if isinstance(file, UnreadableImage):
                waiting.append((file, file))
            else:
                waiting.append((file, pool.submit(decode_image, file.path, look, skip)))

    with quiet_pillow():
        try:
            draw(ahead)
            while waiting:
                file, job = waiting.popleft()
                yield file, job if isinstance(job, UnreadableImage) else job.result()
                draw(1)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
