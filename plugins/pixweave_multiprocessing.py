"""Executor `local`: worker processes of this machine, each with its own model and its threads."""

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
"""Seconds after which it looks whether it shall stop."""


class Local(Component):
    """Several processes of this machine; what one of them breaks, the others survive.

    Each loads the model for itself, so memory decides how many there may be. Where one process
    keeps all cores busy, as large models do, more of them are not faster.
    """

    workers: int = Field(0, ge=0, le=1024, description="how many processes; 0: one for each core")
    threads: int = Field(
        0, ge=0, le=1024, description="threads of each; 0: the cores shared out evenly"
    )
    retries: int = Field(
        2, ge=0, le=100, description="how often a task is tried again whose worker died"
    )

    def build(self, run: Any) -> Any:
        """The live executor; it starts processes when there is work for them."""
        return _Local(self, run)


class _Local:
    def __init__(self, settings: Local, run: ExecutorContext) -> None:
        from pixweave.workers.tasks import available_cores

        self.settings, self.setup = settings, run.setup
        self.count = settings.workers or available_cores()
        self.threads = settings.threads or max(1, available_cores() // self.count)
        self.ever = False

    @property
    def info(self) -> str:
        """How many processes, of how many threads."""
        return f"{_many(self.count, 'process')} of {_many(self.threads, 'thread')}"

    def run(
        self, tasks: Iterable[Task], stop: Callable[[], bool]
    ) -> Generator[TaskResult, None, None]:
        """See `pixweave.protocols.Executor`."""
        from multiprocessing.connection import wait  # here: it takes as long as all plugins

        again: deque[tuple[Task, int]] = deque()
        source = iter(tasks)
        free: list[_Worker] = []
        busy: dict[Connection, _Worker] = {}
        try:
            while not stop():
                while len(busy) < self.count and (drawn := _next(again, source)):
                    worker = free.pop() if free else _Worker(self.setup, self.threads)
                    worker.give(*drawn)
                    busy[worker.line] = worker
                if not busy:
                    return
                for line in wait(list(busy), TICK):
                    worker = busy[line]  # type: ignore[index]
                    done = self._heard(worker, again)
                    if done is not None or not worker.alive:
                        del busy[line]  # type: ignore[arg-type]
                    if done is not None:
                        if worker.alive:
                            free.append(worker)
                        yield done
        finally:
            for worker in (*free, *busy.values()):
                if worker.alive:
                    worker.end()

    def _heard(self, worker: _Worker, again: deque[tuple[Task, int]]) -> TaskResult | None:
        """What came of its task; None where it only began, or died and the task is put back."""
        try:
            said = worker.line.recv()
        except (EOFError, OSError):
            how = worker.end(patience=5)
            if worker.tries <= self.settings.retries:
                again.append((worker.task, worker.tries))
                return None
            if not self.ever:
                raise RunError(
                    f"no worker process can be started ({how}); what it said is above. A script "
                    "that uses workers must have its work below `if __name__ == '__main__':`"
                ) from None
            return TaskResult(worker.task, None, worker_died(worker.tries, how), worker.tries)
        if not worker.ready:
            self.ever = True
            worker.begin()
            return None
        value, error = said
        return TaskResult(worker.task, value, error, worker.tries)


class _Worker:
    """One process and the line to it."""

    def __init__(self, setup: WorkerSetup, threads: int) -> None:
        import multiprocessing

        context = multiprocessing.get_context("spawn")
        self.line, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, setup, threads), daemon=True)
        self.process.start()
        theirs.close()
        self.alive, self.ready = True, False

    def give(self, task: Task, tries: int) -> None:
        """A task that was tried before so often; it is sent when the worker has begun."""
        self.task, self.tries = task, tries + 1
        if self.ready:
            self._send()

    def begin(self) -> None:
        """It listens now."""
        self.ready = True
        self._send()

    def _send(self) -> None:
        with contextlib.suppress(OSError):  # dead: that is noticed when its line is read
            self.line.send(self.task)

    def end(self, patience: float = 0) -> str:
        """End it, unless it ends by itself so soon; gives how it ended."""
        import signal

        self.alive = False
        self.line.close()
        self.process.join(patience)
        self.process.terminate()
        self.process.join(1)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        code = self.process.exitcode or 0
        self.process.close()
        if code < 0:
            name = signal.Signals(-code).name
            return f"killed by {name}" + (", as when memory runs out" if -code == 9 else "")
        return f"exit code {code}"


def serve(line: Connection, setup: WorkerSetup, threads: int) -> None:
    """Do the tasks that come, until the line is closed: a worker's whole life."""
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; who sent us decides
    os.dup2(2, 1)  # stdout is the caller's result
    setup.apply(threads)
    with contextlib.suppress(EOFError, OSError):  # who sent us is gone
        line.send("ready")
        while True:
            line.send(try_task(line.recv()))


def _next(again: deque[tuple[Task, int]], source: Iterator[Task]) -> tuple[Task, int] | None:
    """The next task, and how often it was tried; those whose worker died come first."""
    if again:
        return again.popleft()
    task = next(source, None)
    return None if task is None else (task, 0)


def _many(count: int, what: str) -> str:
    plural = what if count == 1 else f"{what}es" if what.endswith("s") else f"{what}s"
    return f"{count} {plural}"


@hookimpl
def register_executors() -> dict[str, type[Component]]:
    """Offer `local`."""
    return {"local": Local}
