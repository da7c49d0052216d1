"""Checks of what has work done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixweave.plugins import Plugins


def run_odd_task(arguments: Mapping[str, Any]) -> Any:
    """What the tasks of `check_executor`'s kind do: square `number`, after a mishap if asked.

    `mishap`: `raise` an error, `die`, or with a `mark`, a path, die only where that is not there.
    """
    import os
    import signal

    mishap, mark = arguments.get("mishap"), arguments.get("mark")
    if mishap == "raise":
        raise ValueError("no number")
    if mishap == "die" and not (mark and os.path.exists(mark)):
        if mark:
            Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return arguments["number"] ** 2


def check_executor(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    """Assert that tasks are done, that faults are told, and that what dies is tried again."""
    import tempfile

    from pixweave.workers.tasks import ExecutorContext, Task

    run: Any = ExecutorContext()
    executor = plugins.find("executor", name).component(**settings).build(run)
    assert isinstance(executor.info, str), f"'{name}' has no line about who works"
    assert list(executor.run([], lambda: False)) == [], f"'{name}' makes something out of nothing"
    with tempfile.TemporaryDirectory() as folder:
        odd = {
            3: {"mishap": "raise"},
            5: {"mishap": "die"},
            6: {"mishap": "die", "mark": str(Path(folder, "mark"))},
        }
        job = f"{__name__}:run_odd_task"
        tasks = [Task(str(n), job, {"number": n, **odd.get(n, {})}) for n in range(12)]
        got = {int(done.task.name): done for done in executor.run(iter(tasks), lambda: False)}
    assert sorted(got) == list(range(12)), f"'{name}' gives other tasks back: {sorted(got)}"
    for n, done in got.items():
        if n == 3:
            assert done.error.startswith("ValueError: no number"), f"'{name}' says {done.error!r}"
        elif n == 5:
            assert done.tries > 1, f"'{name}' does not try again what a worker died of"
            said = f"its worker died {done.tries} times ("
            assert done.error.startswith(said), f"'{name}' says {done.error!r}"
        else:
            assert (done.value, done.error) == (n * n, ""), f"'{name}' gives {done} for {n}"
    assert got[6].tries > 1, f"'{name}' does not count the tries of a task whose worker died"
    stopped: list[int] = []
    for done in executor.run(iter(tasks[:3] * 99), lambda: bool(stopped)):
        stopped.append(done.value)
    assert len(stopped) < 297, f"'{name}' does not stop"
