"""Checks of what has work done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pixweave.plugins import Plugins


def labour(what: Mapping[str, Any]) -> Any:
    """What the units of `check_executor`'s kind do: square `number`, after a mishap if asked.

    `mishap`: `raise` an error, `die`, or with a `mark`, a path, die only where that is not there.
    """
    import os
    import signal

    mishap, mark = what.get("mishap"), what.get("mark")
    if mishap == "raise":
        raise ValueError("no number")
    if mishap == "die" and not (mark and os.path.exists(mark)):
        if mark:
            Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return what["number"] ** 2


def check_executor(name: str, settings: dict[str, Any], plugins: Plugins) -> None:
    """Assert that units are done, that faults are told, and that what dies is tried again."""
    import tempfile

    from pixweave.workers.tasks import ExecutorRun, Unit

    run: Any = ExecutorRun()
    executor = plugins.find("executor", name).component(**settings).build(run)
    assert isinstance(executor.info, str), f"'{name}' has no line about who works"
    assert list(executor.run([], lambda: False)) == [], f"'{name}' makes something out of nothing"
    with tempfile.TemporaryDirectory() as folder:
        odd = {3: {"mishap": "raise"}, 5: {"mishap": "die"},
               6: {"mishap": "die", "mark": str(Path(folder, "mark"))}}  # fmt: skip
        job = f"{__name__}:labour"
        units = [Unit(str(n), job, {"number": n, **odd.get(n, {})})
                 for n in range(12)]  # fmt: skip
        got = {int(done.unit.name): done for done in executor.run(iter(units), lambda: False)}
    assert sorted(got) == list(range(12)), f"'{name}' gives other units back: {sorted(got)}"
    for n, done in got.items():
        if n == 3:
            assert done.fault.startswith("ValueError: no number"), f"'{name}' says {done.fault!r}"
        elif n == 5:
            assert done.tries > 1, f"'{name}' does not try again what a worker died of"
            said = f"its worker died {done.tries} times ("
            assert done.fault.startswith(said), f"'{name}' says {done.fault!r}"
        else:
            assert (done.value, done.fault) == (n * n, ""), f"'{name}' gives {done} for {n}"
    assert got[6].tries > 1, f"'{name}' does not count the tries of a unit whose worker died"
    stopped: list[int] = []
    for done in executor.run(iter(units[:3] * 99), lambda: bool(stopped)):
        stopped.append(done.value)
    assert len(stopped) < 297, f"'{name}' does not stop"
