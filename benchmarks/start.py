"""How long pixweave takes to begin: CPU seconds of whole processes, and of a run to its first step.

    python benchmarks/start.py                       this installation
    python benchmarks/start.py --other PYTHON        beside another one, alternating, with ratios

Rows: the interpreter alone, `--help`, `validate`, a `search` for a text that was searched for
before, and `run hello` up to its first step, split into interpreter, discovery (plugins found, the
recipe read), torch (its import), building (models, and the sampled first image) and the step.
Figures are medians; threads are limited to one, so that CPU seconds can be compared.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
HELLO = str(ROOT / "recipes" / "hello.yaml")

PROBE = """
import sys, time, json, os, tempfile
from pathlib import Path
times = [("interpreter", time.process_time())]
from pixweave import Plugins, load
recipe = load([sys.argv[1]], Plugins.discover(), ["device=cpu"])
times.append(("discovery", time.process_time()))
import torch
times.append(("torch", time.process_time()))
try:
    from pixweave.pipeline.runner import perform
except ImportError:
    from pixweave.perform import perform
for event in perform(recipe, Path(tempfile.mkdtemp())):
    if event.kind == "started":
        times.append(("building", time.process_time()))
    if event.kind == "step":
        break
times.append(("step", time.process_time()))
before = 0.0
split = {}
for name, at in times:
    split[name], before = at - before, at
split["first step"] = before
print(json.dumps(split))
sys.stdout.flush()
os._exit(0)
"""


def cpu_seconds(words: Sequence[str], environment: dict[str, str]) -> float:
    """CPU seconds, user and system, of a whole process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, check=True, capture_output=True, env=environment)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


class Installation:
    """One Python with pixweave in it, and a cache and an index of its own."""

    def __init__(self, python: str) -> None:
        self.python, self.folder = python, Path(tempfile.mkdtemp())
        self.environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PIXWEAVE_HOME": str(self.folder / "home"),
        }
        self.environment.pop("PYTHONDONTWRITEBYTECODE", None)  # compiled once, as for users
        self.pixweave = [python, "-m", "pixweave"]
        index = ["--index", str(self.folder / "index")]
        images = str(ROOT / "recipes" / "pictures")
        self.search = [*self.pixweave, "search", "a red boat", *index]
        self._run([*self.pixweave, "index", images, *index])
        self._run(self.search)  # from now on the vector of the text is kept

    def _run(self, words: Sequence[str]) -> None:
        subprocess.run(words, check=True, capture_output=True, env=self.environment)

    def measure(self) -> dict[str, float]:
        """One round of every row."""
        commands = {
            "python": [self.python, "-c", ""],
            "--help": [*self.pixweave, "--help"],
            "validate": [*self.pixweave, "validate", HELLO],
            "search, known text": self.search,
        }
        found = {name: cpu_seconds(words, self.environment) for name, words in commands.items()}
        probe = [self.python, "-c", PROBE, HELLO]
        done = subprocess.run(
            probe, check=True, capture_output=True, text=True, env=self.environment
        )
        split = json.loads(done.stdout.splitlines()[-1])
        return {**found, **{f"hello: {name}": seconds for name, seconds in split.items()}}


def main() -> None:
    """Measure in rounds, alternating, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--other", metavar="PYTHON", help="another Python that has a pixweave")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    installations = [Installation(sys.executable)]
    if options.other:
        installations.append(Installation(options.other))
    rounds: list[list[dict[str, float]]] = [[] for _ in installations]
    for _ in range(options.rounds):
        for number, installation in enumerate(installations):
            rounds[number].append(installation.measure())
    for row in rounds[0][0]:
        medians = [statistics.median(found[row] for found in own) for own in rounds]
        ratio = f"  {medians[1] / medians[0]:5.2f}x" if len(medians) > 1 else ""
        print(f"{row:20}" + "".join(f"{seconds:8.3f} s" for seconds in medians) + ratio)


if __name__ == "__main__":
    main()
