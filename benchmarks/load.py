"""Measure how long the shipped models take to load, once torch is imported.

python benchmarks/load.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys

MODELS = {
    "tiny-clip": "from pixweave_tiny.clip_model import load_tiny_clip as load",
    "tiny-vqgan": "from pixweave_vqgan.vqgan_model import load_vqgan as load",
    "tiny-dalle": "from pixweave_dalle.dalle_model import load_dalle as load",
}
PROGRAM = """
import time, torch
began = time.perf_counter()
{imports}
{calls}
print(time.perf_counter() - began)
"""


def seconds(names: list[str], runs: int = 7) -> float:
    """Return the median seconds to import and load these models, in fresh processes."""
    imports = "\n".join(f"{MODELS[n]}_{i}" for i, n in enumerate(names))
    calls = "\n".join(f"load_{i}()" for i in range(len(names)))
    program = PROGRAM.format(imports=imports, calls=calls)
    command = [sys.executable, "-c", program]
    found = [
        float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
        for _ in range(runs)
    ]
    return statistics.median(found)


def main() -> None:
    """Print a line for each model, one for the two of a typical run, and one for all."""
    for names in [*([name] for name in MODELS), ["tiny-clip", "tiny-vqgan"], list(MODELS)]:
        print(f"{' + '.join(names):>35}: {seconds(names):.2f} s after torch", flush=True)


if __name__ == "__main__":
    main()
