"""Executor `ray`: workers on the machines of a Ray cluster, or on this one; by ray, an extra."""

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
"""Seconds after which it looks whether it shall stop."""

PATIENCE = 60.0
"""Seconds to wait for a worker while there is none."""

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",
}
"""No reports to Ray's makers, no advice about its versions to come, no news of nodes on stdout."""


class Ray(Component):
    """Workers of a Ray cluster, each an actor with its own model; pip install 'pixweave[ray]'.

    Every machine needs the same pixweave, plugins and weights, and the pictures under the same
    paths; the index only this one. `ray start --head` begins a cluster here, `ray start --address
    HOST:6379` brings a machine into it. A worker whose machine goes away is replaced where there is
    room, and its work is done again.
    """

    workers: int = Field(0, ge=0, le=100_000, description="how many workers; 0: all that fit")
    address: str = Field(
        "",
        description="of a running cluster, host:port, or auto for the one on this machine; else "
        "RAY_ADDRESS, else a cluster is started here and ended after the work",
    )
    cpus: float = Field(1, gt=0, le=1024, description="cores of each worker, and its threads")
    gpus: float = Field(0, ge=0, le=64, description="GPUs of each worker; 0.25: four share one")
    retries: int = Field(
        2, ge=0, le=100, description="how often a task is tried again whose worker died"
    )

    def build(self, run: Any) -> Any:
        """The live executor; it reaches for the cluster when there is work for it."""
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
        mine = not self.ray.is_initialized()
        if mine:
            self._connect()
        crew = _Crew(self.ray, self.settings, self.setup)
        self.info = f"{crew.count} worker{'' if crew.count == 1 else 's'} of Ray"
        try:
            yield from crew.work(deque([(first, 0)]), source, stop)
        finally:
            crew.end()
            if mine:
                self.ray.shutdown()

    def _connect(self) -> None:
        """Join the cluster that is meant, or start one."""
        import logging

        address = self.settings.address or os.environ.get("RAY_ADDRESS") or None
        own = {} if address else {"include_dashboard": False}
        try:
            _knock(address)
            self.ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
        except (OSError, RuntimeError, ValueError) as error:
            said = " ".join(str(error).split())[:300]
            where = f"at '{address}'" if address else "on this machine"
            raise RunError(
                f"there is no Ray cluster {where}: {said}; `ray start --head` begins one, and "
                "`address` or RAY_ADDRESS says where it is"
            ) from None


class _Crew:
    """The actors of one run: those that begin, those that are free, those at work."""

    def __init__(self, ray: Any, settings: Ray, setup: WorkerSetup) -> None:
        self.ray, self.settings, self.setup = ray, settings, setup
        self.actor = ray.remote(num_cpus=settings.cpus, num_gpus=settings.gpus, max_restarts=0)(
            Worker
        )
        self.threads = max(1, int(settings.cpus))
        self.count = settings.workers or self._room()
        self.starting: dict[Any, Any] = {}
        self.free: list[Any] = []
        self.busy: dict[Any, tuple[Any, Task, int]] = {}
        self.failures, self.since = 0, time.monotonic()

    def _room(self) -> int:
        """How many workers fit on the cluster as it is."""
        there = self.ray.cluster_resources()
        room = int(there.get("CPU", 0) / self.settings.cpus)
        if self.settings.gpus:
            room = min(room, int(there.get("GPU", 0) / self.settings.gpus))
        return max(1, room)

    def work(
        self, again: deque[tuple[Task, int]], source: Iterator[Task], stop: Callable[[], bool]
    ) -> Generator[TaskResult, None, None]:
        """What came of every task, as it comes."""
        while not stop():
            drawn = again.popleft() if again else _new(source)
            while drawn and self.free:
                self._give(*drawn)
                drawn = again.popleft() if again else _new(source)
            if drawn:
                again.appendleft(drawn)
                there = len(self.busy) + len(self.starting)
                if there < self.count and self.failures <= self.settings.retries:
                    self._start()
            elif not self.busy:
                return
            yield from self._listen(again)

    def _start(self) -> None:
        worker = self.actor.remote(self.setup, self.threads, __version__)
        self.starting[worker.begin.remote()] = worker

    def _give(self, task: Task, tries: int) -> None:
        worker = self.free.pop()
        self.busy[worker.do.remote(task)] = (worker, task, tries + 1)

    def _listen(self, again: deque[tuple[Task, int]]) -> Iterator[TaskResult]:
        """Wait for a moment; what came in meanwhile."""
        waiting = [*self.busy, *self.starting]
        ready, _ = self.ray.wait(waiting, num_returns=len(waiting), timeout=TICK / 2)
        if ready or self.busy:
            self.since = time.monotonic()
        elif time.monotonic() - self.since > PATIENCE:
            raise RunError(self._no_room())
        for job in ready:
            if job in self.starting:
                self._begun(job)
                continue
            worker, task, tries = self.busy.pop(job)
            try:
                value, reason = self.ray.get(job)
            except self.ray.exceptions.RayError as error:
                self._end(worker)
                if tries <= self.settings.retries:
                    again.append((task, tries))
                else:
                    yield TaskResult(task, None, worker_died(tries, _short(error)), tries)
                continue
            self.free.append(worker)
            yield TaskResult(task, value, reason, tries)

    def _begun(self, job: Any) -> None:
        """A worker has begun, or could not; RunError where none is left that can."""
        worker = self.starting.pop(job)
        try:
            refused = self.ray.get(job)
        except self.ray.exceptions.RayError as error:
            refused = _short(error)
        if not refused:
            self.failures = 0
            self.free.append(worker)
            return
        self._end(worker)
        self.failures += 1
        left = self.free or self.busy or self.starting
        if self.failures > self.settings.retries and not left:
            raise RunError(
                f"no worker of Ray can begin: {refused}; the same pixweave, with its extra 'ray', "
                "must be installed on every machine of the cluster"
            )

    def _no_room(self) -> str:
        there = self.ray.available_resources()
        free = f"{there.get('CPU', 0):g} CPU and {there.get('GPU', 0):g} GPU"
        wanted = f"{self.settings.cpus:g} CPU and {self.settings.gpus:g} GPU"
        return (
            f"Ray has found no room for a worker of {wanted} in {PATIENCE:.0f} s, {free} are free; "
            "bring in a machine with `ray start --address`, or lower `cpus` or `gpus`"
        )

    def _end(self, worker: Any) -> None:
        with contextlib.suppress(Exception):  # gone already
            self.ray.kill(worker)

    def end(self) -> None:
        """End every worker."""
        at_work = [worker for worker, _, _ in self.busy.values()]
        for worker in (*self.free, *self.starting.values(), *at_work):
            self._end(worker)


class Worker:
    """The actor: one process somewhere, settled before anything heavy is imported."""

    def __init__(self, setup: WorkerSetup, threads: int, version: str) -> None:
        self.version = version
        setup.apply(threads)

    def begin(self) -> str:
        """'' when it is ready, or why it is not fit."""
        if self.version != __version__:
            return f"it has pixweave {__version__}, and {self.version} sent the work"
        return ""

    def do(self, task: Task) -> tuple[Any, str]:
        """Its value, or its error."""
        return try_task(task)


def _knock(address: str | None) -> None:
    """Raise OSError where nobody listens; Ray itself would try for a minute or more."""
    import socket

    host, colon, port = (address or "").rpartition(":")
    if colon and port.isdecimal() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), 5).close()


def _new(source: Iterator[Task]) -> tuple[Task, int] | None:
    task = next(source, None)
    return None if task is None else (task, 0)


def _short(error: Exception) -> str:
    """What Ray says, in a line: the cause, where it names one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line for line in lines[1:] if _CAUSE.match(line)]
    text = (causes or lines[:1] or [type(error).__name__])[-1][:200].rstrip(".")
    return text[:1].lower() + text[1:]


_CAUSE = re.compile(r"The actor is dead because|\w+Error: ")


@hookimpl
def register_executors() -> dict[str, type[Component]]:
    """Offer `ray`."""
    return {"ray": Ray}
