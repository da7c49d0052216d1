"""Runs tasks with an executor: its errors name it, those of the source of the tasks do not."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator

from pixweave.borders.guard import Guard
from pixweave.borders.process_state import EVERYTHING
from pixweave.borders.wording import not_a
from pixweave.errors import PartError
from pixweave.protocols import Executor
from pixweave.workers.tasks import Task, TaskResult


def run_tasks(
    name: str, executor: Executor, tasks: Iterable[Task], stop: Callable[[], bool]
) -> Generator[TaskResult, None, None]:
    """The results of the tasks; `name` is the executor's in errors. Close it to end the workers."""
    source = _Source(tasks)
    with Guard(name, may_change=EVERYTHING):
        results = executor.run(source, stop)
    try:
        while True:
            try:
                with Guard(name, may_change=EVERYTHING):
                    result = next(results, None)
            except PartError:
                if source.error is not None:
                    raise source.error from None
                raise
            if result is None:
                return
            if not isinstance(result, TaskResult):
                raise PartError(name, not_a(result, "TaskResult objects"))
            yield result
    finally:
        with Guard(name, may_change=EVERYTHING):
            results.close()


class _Source:
    """The tasks; keeps an error of their source, which executors take them from."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._tasks = iter(tasks)
        self.error: BaseException | None = None

    def __iter__(self) -> Iterator[Task]:
        return self

    def __next__(self) -> Task:
        try:
            return next(self._tasks)
        except StopIteration:
            raise
        except BaseException as error:
            self.error = error
            raise
