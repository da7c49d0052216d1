"""Checks of executors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixweave.plugins import Plugins


def run_test_task(arguments: Mapping[str, Any]) -> Any:
    """The task of `check_executor`: return the square of `number`, or fail.

    `failure`: `raise` an error, or `die`; with the path `marker`, die only if it does not exist.
    """
    import os
    import signal

    failure, marker = arguments.get("failure"), arguments.get("marker")
    if failure == "raise":
        raise ValueError("not a number")
    if failure == "die" and not (marker and os.path.exists(marker)):
        if marker:
            Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return arguments["number"] ** 2


def check_executor(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    """Assert that tasks run, errors are reported, and tasks whose worker died are retried."""
    import tempfile

    from pixweave.workers.tasks import ExecutorContext, Task

    run: Any = ExecutorContext()
    executor = plugins.find("executor", name).component(**settings).build(run)
    assert isinstance(executor.info, str), f"'{name}' has no info line about its workers"
    assert list(executor.run([], lambda: False)) == [], f"'{name}' gives results without tasks"
    with tempfile.TemporaryDirectory() as folder:
        failures = {
            3: {"failure": "raise"},
            5: {"failure": "die"},
            6: {"failure": "die", "marker": str(Path(folder, "marker"))},
        }
        function = f"{__name__}:run_test_task"
        tasks = [Task(str(n), function, {"number": n, **failures.get(n, {})}) for n in range(12)]
        results = {int(r.task.name): r for r in executor.run(iter(tasks), lambda: False)}
    assert sorted(results) == list(range(12)), f"'{name}' returns other tasks: {sorted(results)}"
    for n, result in results.items():
        error = result.error
        if n == 3:
            assert error.startswith("ValueError: not a number"), f"'{name}' reports {error!r}"
        elif n == 5:
            assert result.tries > 1, f"'{name}' does not retry a task whose worker died"
            expected = f"its worker died {result.tries} times ("
            assert error.startswith(expected), f"'{name}' reports {error!r}"
        else:
            assert (result.value, error) == (n * n, ""), f"'{name}' gives {result} for {n}"
    assert results[6].tries > 1, f"'{name}' does not count the tries of a task whose worker died"
    values: list[int] = []
    for result in executor.run(iter(tasks[:3] * 99), lambda: bool(values)):
        values.append(result.value)
    assert len(values) < 297, f"'{name}' does not stop"
