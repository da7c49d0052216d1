"""Executor `ray`: on two nodes, one of which is killed; and together with `local`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from half_done import kill_midway, rows
from pixweave_ray import QUIET
from test_search_proofs import gallery

from pixweave.errors import MissingError, RunError
from pixweave.plugins import Plugins
from pixweave.search import IndexOptions, IndexProgress, indexing, open_index
from pixweave.testing import check_component, plugins_of
from pixweave.workers.tasks import ExecutorContext, Task, TaskResult

UNIT = Task("a", "pixweave.testing.check_executors:run_test_task", {"number": 3})


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from pixweave_ray import Ray

    monkeypatch.setitem(sys.modules, "ray", None)
    run: Any = ExecutorContext()
    with pytest.raises(MissingError) as caught:
        Ray().build(run)
    assert str(caught.value) == (
        "executor 'ray' needs ray; install it with: pip install 'pixweave[ray]'"
    )


def bring(plugins: Plugins, at: Path, perceptor: str, *inputs: Path, **how: Any) -> IndexProgress:
    with open_index(at, perceptor, True, "cpu", plugins=plugins) as index:
        *_, tally = index.update(IndexOptions(inputs, batch=4, **how))
    return tally


@pytest.fixture(scope="module", autouse=True)
def ordinary_priority() -> Iterator[None]:
    """Ray's workers step back behind all else, which on a busy machine takes minutes.

    What keeps Ray quiet it reads when it is imported, here by tests that skip where it is not.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")
        for name, value in QUIET.items():
            patch.setenv(name, value)
        yield


@pytest.mark.slow
def test_it_starts_by_itself_and_goes_on_where_processes_were_killed(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    photos, at = tmp_path / "photos", tmp_path / "index"
    gallery(photos, 96)
    done = kill_midway(photos, at, shard=4, least=3)
    words = [sys.executable, "-m", "pixweave", "index", str(photos), "--index", str(at)]
    more = ["--executor", "{use: ray, workers: 1}", "--batch", "4", "--shard", "4"]
    run = subprocess.run([*words, *more], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout == ""
    lines = [line for line in run.stderr.splitlines() if " done, " not in line]  # how far it is
    seen, taken, summary = lines  # not a word of Ray's own
    assert seen.startswith("encoding with tiny CLIP, ")
    assert seen.endswith("; 1 worker of Ray")
    assert taken == f"{4 * len(done)} recovered from an interrupted run"
    assert summary.startswith(f"{96 - 4 * len(done)} encoded, 0 reused (same content), ")
    bring(plugins_of(), tmp_path / "alone", "tiny", photos)
    together, alone = rows(at), rows(tmp_path / "alone")
    assert [row[:-1] for row in together] == [row[:-1] for row in alone]
    # sums of two threads are added up in another order than those of one
    first, second = (
        [np.frombuffer(row[-1], np.float16) for row in each] for each in (together, alone)
    )
    np.testing.assert_allclose(np.stack(first), np.stack(second), atol=0.001)


def test_where_there_is_no_cluster_it_says_so() -> None:
    pytest.importorskip("ray")
    from pixweave_ray import Ray

    run: Any = ExecutorContext()
    with pytest.raises(RunError) as caught:
        next(Ray(address="127.0.0.1:1").build(run).run([UNIT], lambda: False))
    assert str(caught.value) == (
        "there is no Ray cluster at '127.0.0.1:1': [Errno 111] Connection refused; "
        "start one with `ray start --head`, and set its address with `address` or RAY_ADDRESS"
    )


@pytest.fixture(scope="module")
def cluster(ordinary_priority: None) -> Iterator[Any]:
    """A head that does no work, and two nodes of one core each."""
    pytest.importorskip("ray")
    from pixweave_ray import Ray

    run: Any = ExecutorContext()
    Ray().build(run)  # it makes Ray quiet
    from ray.cluster_utils import Cluster

    made = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0,
            "include_dashboard": False,
            "object_store_memory": 80_000_000,
            "_system_config": {
                "health_check_initial_delay_ms": 1000,
                "health_check_period_ms": 500,
                "health_check_failure_threshold": 4,
            },
        },
    )
    for _ in range(2):
        made.add_node(num_cpus=1, object_store_memory=80_000_000)
    yield made
    made.shutdown()


STEADY = """
import time
from typing import ClassVar
from pixweave import Component, hookimpl

class Steady(Component):
    '''Sees mean colours, in a fifth of a second.'''
    def build(self, run):
        return self
    size = property(lambda self: 8)
    info: ClassVar[str] = "steady"
    def encode_image(self, crops):
        from torch.nn.functional import normalize
        time.sleep(0.2)
        return normalize(crops.mean((2, 3)) + 0.1, dim=1)
    def encode_text(self, texts):
        import torch
        return torch.ones(len(texts), 3) / 3 ** 0.5

@hookimpl
def register_perceptors():
    return {"steady": Steady}
"""


@pytest.mark.slow
def test_a_killed_node_loses_nothing(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    import ray

    check_component("executor", "ray", {"address": cluster.address, "workers": 2})
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "steady.py").write_text(STEADY)
    plugins = Plugins.discover([tmp_path / "plugins"])
    address = {"use": "ray", "address": cluster.address}
    photos, alone, at = tmp_path / "photos", tmp_path / "alone", tmp_path / "index"
    gallery(photos, 200)
    bring(plugins, alone, "steady", photos)
    bring(plugins, at, "steady", photos / "000", executor={"use": "local", "workers": 1})  # a half
    monkeypatch.setattr(indexing, "COMMIT_EVERY", 0.0)
    tries: list[int] = []
    run = _noting(tries)
    monkeypatch.setattr("pixweave_ray._WorkerPool.work", run)
    doomed, seen = next(iter(cluster.worker_nodes)), list[Any]()
    with open_index(at, "steady", True, "cpu", plugins=plugins) as index:
        wish = IndexOptions([photos], batch=4, executor=address, shard=4)
        for tally in index.update(wish):
            if tally.committed and not seen:
                seen = ray.nodes()
                cluster.remove_node(doomed, allow_graceful=False)
    assert len(seen) == 3
    assert (tally.encoded, tally.unchanged, tally.by) == (100, 100, "steady, cpu; 2 workers of Ray")
    assert len(tries) == 25
    assert max(tries) == 2  # what it had, or was given, when it went
    assert rows(at) == rows(alone)
    assert capfd.readouterr().out == ""  # stdout is ours


def _noting(tries: list[int]) -> Any:
    from pixweave_ray import _WorkerPool

    work = _WorkerPool.work

    def noted(self: Any, *given: Any) -> Iterator[TaskResult]:
        for done in work(self, *given):
            tries.append(done.tries)
            yield done

    return noted
