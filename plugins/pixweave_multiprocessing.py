"""Executor `local`: worker processes on this machine, each with its own model and threads."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from pixweave import Component, Field, hookimpl
from pixweave.errors import RunError
from pixweave.workers.tasks import (
    ExecutorContext,
    Task,
    TaskResult,
    WorkerSetup,
    try_task,
    worker_died,
)

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

TICK = 0.1
"""Interval in seconds between checks of the stop function."""


class Local(Component):
    """Worker processes on this machine; a crash in one does not affect the others.

    Each process loads its own copy of the model, so memory limits their number. If one process
    already keeps all cores busy, as large models do, more processes are not faster.
    """

    workers: int = Field(
        0, ge=0, le=1024, description="number of worker processes; 0: one per core"
    )
    threads: int = Field(
        0, ge=0, le=1024, description="threads per process; 0: the cores divided evenly"
    )
    retries: int = Field(
        2, ge=0, le=100, description="number of times to retry a task whose worker died"
    )

    def build(self, run: Any) -> Any:
        """The executor; it starts processes when there is work for them."""
        return _Local(self, run)


class _Local:
    def __init__(self, settings: Local, run: ExecutorContext) -> None:
        from pixweave.workers.tasks import available_cores

        self.settings, self.setup = settings, run.setup
        self.count = settings.workers or available_cores()
        self.threads = settings.threads or max(1, available_cores() // self.count)
        self.any_started = False

    @property
    def info(self) -> str:
        """Number of processes, and of threads of each."""
        return f"{_plural(self.count, 'process')} of {_plural(self.threads, 'thread')}"

    def run(
        self, tasks: Iterable[Task], stop: Callable[[], bool]
    ) -> Generator[TaskResult, None, None]:
        """See `pixweave.protocols.Executor`."""
        from multiprocessing.connection import wait  # slow to import: as long as all plugins

        retries: deque[tuple[Task, int]] = deque()
        source = iter(tasks)
        free: list[_Worker] = []
        busy: dict[Connection, _Worker] = {}
        try:
            while not stop():
                while len(busy) < self.count and (queued := _next(retries, source)):
                    worker = free.pop() if free else _Worker(self.setup, self.threads)
                    worker.assign(*queued)
                    busy[worker.connection] = worker
                if not busy:
                    return
                for connection in wait(list(busy), TICK):
                    worker = busy[connection]  # type: ignore[index]
                    result = self._receive(worker, retries)
                    if result is not None or not worker.alive:
                        del busy[connection]  # type: ignore[arg-type]
                    if result is not None:
                        if worker.alive:
                            free.append(worker)
                        yield result
        finally:
            for worker in (*free, *busy.values()):
                if worker.alive:
                    worker.end()

    def _receive(self, worker: _Worker, retries: deque[tuple[Task, int]]) -> TaskResult | None:
        """The result of the worker's task.

        None if the worker has only started, or has died and its task is queued again. RunError if
        no worker has ever started.
        """
        try:
            message = worker.connection.recv()
        except (EOFError, OSError):
            reason = worker.end(timeout=5)
            if worker.tries <= self.settings.retries:
                retries.append((worker.task, worker.tries))
                return None
            if not self.any_started:
                raise RunError(
                    f"no worker process can be started ({reason}); its output is above. A script "
                    "that uses workers must run its code below `if __name__ == '__main__':`"
                ) from None
            return TaskResult(worker.task, None, worker_died(worker.tries, reason), worker.tries)
        if not worker.ready:
            self.any_started = True
            worker.mark_ready()
            return None
        value, error = message
        return TaskResult(worker.task, value, error, worker.tries)


class _Worker:
    """One worker process and the connection to it."""

    def __init__(self, setup: WorkerSetup, threads: int) -> None:
        import multiprocessing

        context = multiprocessing.get_context("spawn")
        self.connection, remote = context.Pipe()
        self.process = context.Process(target=serve, args=(remote, setup, threads), daemon=True)
        self.process.start()
        remote.close()
        self.alive, self.ready = True, False

    def assign(self, task: Task, tries: int) -> None:
        """Assign a task that was tried `tries` times; it is sent when the worker is ready."""
        self.task, self.tries = task, tries + 1
        if self.ready:
            self._send()

    def mark_ready(self) -> None:
        """Note that the worker has started, and send its task."""
        self.ready = True
        self._send()

    def _send(self) -> None:
        with contextlib.suppress(OSError):  # a dead worker is noticed on the next read
            self.connection.send(self.task)

    def end(self, timeout: float = 0) -> str:
        """Wait `timeout` seconds for the process to end, then terminate it; return how it ended."""
        import signal

        self.alive = False
        self.connection.close()
        self.process.join(timeout)
        self.process.terminate()
        self.process.join(1)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        code = self.process.exitcode or 0
        self.process.close()
        if code < 0:
            name = signal.Signals(-code).name
            return f"killed by {name}" + (", possibly out of memory" if -code == 9 else "")
        return f"exit code {code}"


def serve(connection: Connection, setup: WorkerSetup, threads: int) -> None:
    """Main function of a worker: run tasks until the connection is closed."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent decides
    os.dup2(2, 1)  # stdout is reserved for the parent's result
    setup.apply(threads)
    with contextlib.suppress(EOFError, OSError):  # the parent is gone
        connection.send("ready")
        while True:
            connection.send(try_task(connection.recv()))


def _next(retries: deque[tuple[Task, int]], source: Iterator[Task]) -> tuple[Task, int] | None:
    """The next task and how often it was tried; retries come first."""
    if retries:
        return retries.popleft()
    task = next(source, None)
    return None if task is None else (task, 0)


def _plural(count: int, noun: str) -> str:
    plural = noun if count == 1 else f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{count} {plural}"


@hookimpl
def register_executors() -> dict[str, type[Component]]:
    """Register `local`."""
    return {"local": Local}
