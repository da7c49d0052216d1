"""Executor `example`: a new process for each task, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any

from pixweave import Component, Field, hookimpl
from pixweave.workers.tasks import (
    ExecutorContext,
    Task,
    TaskResult,
    WorkerSetup,
    try_task,
    worker_died,
)

if TYPE_CHECKING:
    from pixweave.protocols import Executor

api = 1


class Example(Component):
    """Run each task in a new process: slow to start, and nothing is kept from task to task."""

    retries: int = Field(2, ge=0, description="how often a task is tried again if its worker died")

    def build(self, run: ExecutorContext) -> Executor:
        """The executor."""
        return OneByOne(self.retries, run.setup)


class OneByOne:
    """Runs tasks in the order in which they come."""

    info = "a process for each task"

    def __init__(self, retries: int, setup: WorkerSetup) -> None:
        self.retries, self.setup = retries, setup

    def run(
        self, tasks: Iterable[Task], stop: Callable[[], bool]
    ) -> Generator[TaskResult, None, None]:
        """The result of each task; a task whose worker died is tried again."""
        for task in tasks:
            for tries in range(1, self.retries + 2):
                if stop():
                    return
                answer = self._attempt(task, stop)
                if answer is not None:
                    yield TaskResult(task, *answer, tries)
                    break
            else:
                yield TaskResult(task, None, worker_died(tries, "it was killed"), tries)

    def _attempt(self, task: Task, stop: Callable[[], bool]) -> tuple[Any, str] | None:
        """The value and the error of a task; None if its worker died, or was stopped."""
        import multiprocessing

        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        process = context.Process(target=work, args=(there, self.setup, task), daemon=True)
        process.start()
        there.close()
        try:
            while not here.poll(0.1):
                if stop():
                    return None
            answer: tuple[Any, str] = here.recv()
            return answer
        except EOFError:
            return None
        finally:
            process.kill()
            process.join()


def work(connection: Any, setup: WorkerSetup, task: Task) -> None:
    """The life of a worker: set up the process, run the task, send its value and error."""
    setup.apply(1)
    connection.send(try_task(task))


@hookimpl
def register_executors() -> dict[str, type[Component]]:
    """Register `example`."""
    return {"example": Example}
