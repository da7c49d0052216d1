"""Executor `ray`: workers on the machines of a Ray cluster, or on this one.

Uses ray, which is an optional dependency (`pixweave[ray]`).
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

from pixweave import Component, Field, __version__, hookimpl
from pixweave.errors import MissingError, RunError
from pixweave.workers.tasks import (
    ExecutorContext,
    Task,
    TaskResult,
    WorkerSetup,
    try_task,
    worker_died,
)

TICK = 0.1
"""Interval in seconds between checks of the stop function."""

PATIENCE = 60.0
"""Seconds to wait for the first worker before giving up."""

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",
}
"""Turns off Ray's usage reports, warnings about future versions, and node messages on stdout."""


class Ray(Component):
    """Workers on a Ray cluster, each an actor with its own model; pip install 'pixweave[ray]'.

    Every machine needs the same pixweave, plugins and weights, and the images under the same paths;
    only this machine needs the index. `ray start --head` starts a cluster here, `ray start
    --address HOST:6379` adds a machine to it. If a machine is lost, its workers are replaced where
    there is room, and their tasks are retried.
    """

    workers: int = Field(
        0, ge=0, le=100_000, description="number of workers; 0: as many as the cluster can hold"
    )
    address: str = Field(
        "",
        description="address of a running cluster, host:port, or auto for the one on this machine; "
        "by default RAY_ADDRESS, else a temporary cluster on this machine",
    )
    cpus: float = Field(1, gt=0, le=1024, description="CPU cores, and threads, per worker")
    gpus: float = Field(0, ge=0, le=64, description="GPUs per worker; 0.25: four workers share one")
    retries: int = Field(
        2, ge=0, le=100, description="number of times to retry a task whose worker died"
    )

    def build(self, run: Any) -> Any:
        """The executor; it connects to the cluster when there is work for it."""
        return _Ray(self, run)


class _Ray:
    def __init__(self, settings: Ray, run: ExecutorContext) -> None:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        try:
            import ray
        except ImportError:
            raise MissingError(
                "executor 'ray' needs ray; install it with: pip install 'pixweave[ray]'"
            ) from None
        self.ray: Any = ray
        self.settings, self.setup = settings, run.setup
        self.info = "workers of Ray"

    def run(
        self, tasks: Iterable[Task], stop: Callable[[], bool]
    ) -> Generator[TaskResult, None, None]:
        """See `pixweave.protocols.Executor`."""
        source = iter(tasks)
        first = next(source, None)
        if first is None:
            return
        connected_here = not self.ray.is_initialized()
        if connected_here:
            self._connect()
        pool = _WorkerPool(self.ray, self.settings, self.setup)
        self.info = f"{pool.count} worker{'' if pool.count == 1 else 's'} of Ray"
        try:
            yield from pool.work(deque([(first, 0)]), source, stop)
        finally:
            pool.end()
            if connected_here:
                self.ray.shutdown()

    def _connect(self) -> None:
        """Connect to the configured cluster, or start one."""
        import logging

        address = self.settings.address or os.environ.get("RAY_ADDRESS") or None
        options = {} if address else {"include_dashboard": False}
        try:
            _check_reachable(address)
            self.ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **options)
        except (OSError, RuntimeError, ValueError) as error:
            message = " ".join(str(error).split())[:300]
            where = f"at '{address}'" if address else "on this machine"
            raise RunError(
                f"there is no Ray cluster {where}: {message}; start one with `ray start --head`, "
                "and set its address with `address` or RAY_ADDRESS"
            ) from None


class _WorkerPool:
    """The actors of one run: starting, free or busy."""

    def __init__(self, ray: Any, settings: Ray, setup: WorkerSetup) -> None:
        self.ray, self.settings, self.setup = ray, settings, setup
        self.actor = ray.remote(num_cpus=settings.cpus, num_gpus=settings.gpus, max_restarts=0)(
            Worker
        )
        self.threads = max(1, int(settings.cpus))
        self.count = settings.workers or self._capacity()
        self.starting: dict[Any, Any] = {}
        self.free: list[Any] = []
        self.busy: dict[Any, tuple[Any, Task, int]] = {}
        self.failures, self.since = 0, time.monotonic()

    def _capacity(self) -> int:
        """The number of workers that fit on the cluster; at least 1."""
        resources = self.ray.cluster_resources()
        capacity = int(resources.get("CPU", 0) / self.settings.cpus)
        if self.settings.gpus:
            capacity = min(capacity, int(resources.get("GPU", 0) / self.settings.gpus))
        return max(1, capacity)

    def work(
        self, queue: deque[tuple[Task, int]], source: Iterator[Task], stop: Callable[[], bool]
    ) -> Generator[TaskResult, None, None]:
        """Yield the result of every task as it arrives."""
        while not stop():
            queued = queue.popleft() if queue else _next(source)
            while queued and self.free:
                self._assign(*queued)
                queued = queue.popleft() if queue else _next(source)
            if queued:
                queue.appendleft(queued)
                workers = len(self.busy) + len(self.starting)
                if workers < self.count and self.failures <= self.settings.retries:
                    self._start()
            elif not self.busy:
                return
            yield from self._receive(queue)

    def _start(self) -> None:
        worker = self.actor.remote(self.setup, self.threads, __version__)
        self.starting[worker.begin.remote()] = worker

    def _assign(self, task: Task, tries: int) -> None:
        worker = self.free.pop()
        self.busy[worker.do.remote(task)] = (worker, task, tries + 1)

    def _receive(self, queue: deque[tuple[Task, int]]) -> Iterator[TaskResult]:
        """Wait for a moment and yield the results that arrive; failed tasks are queued again."""
        waiting = [*self.busy, *self.starting]
        ready, _ = self.ray.wait(waiting, num_returns=len(waiting), timeout=TICK / 2)
        if ready or self.busy:
            self.since = time.monotonic()
        elif time.monotonic() - self.since > PATIENCE:
            raise RunError(self._no_capacity())
        for job in ready:
            if job in self.starting:
                self._started(job)
                continue
            worker, task, tries = self.busy.pop(job)
            try:
                value, reason = self.ray.get(job)
            except self.ray.exceptions.RayError as error:
                self._end(worker)
                if tries <= self.settings.retries:
                    queue.append((task, tries))
                else:
                    yield TaskResult(task, None, worker_died(tries, _short(error)), tries)
                continue
            self.free.append(worker)
            yield TaskResult(task, value, reason, tries)

    def _started(self, job: Any) -> None:
        """Handle a worker that has started or failed to; RunError if no other worker is left."""
        worker = self.starting.pop(job)
        try:
            problem = self.ray.get(job)
        except self.ray.exceptions.RayError as error:
            problem = _short(error)
        if not problem:
            self.failures = 0
            self.free.append(worker)
            return
        self._end(worker)
        self.failures += 1
        left = self.free or self.busy or self.starting
        if self.failures > self.settings.retries and not left:
            raise RunError(
                f"no Ray worker can start: {problem}; install the same pixweave, with its extra "
                "'ray', on every machine of the cluster"
            )

    def _no_capacity(self) -> str:
        resources = self.ray.available_resources()
        free = f"{resources.get('CPU', 0):g} CPU and {resources.get('GPU', 0):g} GPU"
        needed = f"{self.settings.cpus:g} CPU and {self.settings.gpus:g} GPU"
        return (
            f"Ray found no room for a worker of {needed} within {PATIENCE:.0f} s, {free} are free; "
            "add a machine with `ray start --address`, or lower `cpus` or `gpus`"
        )

    def _end(self, worker: Any) -> None:
        with contextlib.suppress(Exception):  # already gone
            self.ray.kill(worker)

    def end(self) -> None:
        """End every worker."""
        busy = [worker for worker, _, _ in self.busy.values()]
        for worker in (*self.free, *self.starting.values(), *busy):
            self._end(worker)


class Worker:
    """The actor: one worker process, configured before heavy modules are imported."""

    def __init__(self, setup: WorkerSetup, threads: int, version: str) -> None:
        self.version = version
        setup.apply(threads)

    def begin(self) -> str:
        """Return '' if the worker is ready, or why it cannot be used."""
        if self.version != __version__:
            return f"it has pixweave {__version__}, but the tasks come from {self.version}"
        return ""

    def do(self, task: Task) -> tuple[Any, str]:
        """Run a task; return its value and its error ('' if none)."""
        return try_task(task)


def _check_reachable(address: str | None) -> None:
    """Raise OSError if nothing listens at the address; Ray would retry for a minute or more."""
    import socket

    host, colon, port = (address or "").rpartition(":")
    if colon and port.isdecimal() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), 5).close()


def _next(source: Iterator[Task]) -> tuple[Task, int] | None:
    task = next(source, None)
    return None if task is None else (task, 0)


def _short(error: Exception) -> str:
    """Ray's error in one line: the cause, if it names one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line for line in lines[1:] if _CAUSE.match(line)]
    text = (causes or lines[:1] or [type(error).__name__])[-1][:200].rstrip(".")
    return text[:1].lower() + text[1:]


_CAUSE = re.compile(r"The actor is dead because|\w+Error: ")


@hookimpl
def register_executors() -> dict[str, type[Component]]:
    """Register `ray`."""
    return {"ray": Ray}
