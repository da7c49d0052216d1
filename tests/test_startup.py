"""What must answer at once never imports torch."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ["torch", "torchvision", "open_clip", "kornia", "rich", "numpy", "av", "imageio"]

LIGHT = [
    ["--help"],
    ["run", "--help"],
    ["index", "--help"],
    ["search", "--help"],
    ["validate", "recipes/hello.yaml"],
    ["validate", "recipes/sky.yaml"],
    ["validate", "recipes/sky.yaml"],
    ["explain", "recipes/hello.yaml"],
    ["plugins"],
    ["plugins", "--json"],
    ["show", "pixel"],
    ["ls"],
    ["cat", "hello"],
    ["schema"],
]

PROBE = """
import json, sys
from pixweave.cli import cli
try:
    cli(sys.argv[1:], standalone_mode=False)
finally:
    print(json.dumps(sorted(m for m in sys.modules if "." not in m)), file=sys.stderr)
"""


@pytest.mark.parametrize("words", LIGHT, ids=" ".join)
def test_it_never_imports_torch(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stderr.splitlines()[-1])
    assert [name for name in HEAVY if name in loaded] == []


@pytest.mark.parametrize(
    "recipe", ["hello", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sky", "sprite"))]
)
def test_a_run_never_imports_the_compiler_of_torch(recipe: str, tmp_path: Path) -> None:
    """torch._dynamo alone takes a second to import."""
    words = ["run", recipe, "--set", "steps=1", "--set", "device=cpu", "--set", "crops.count=2"]
    code = (
        "import sys\nfrom pixweave.cli import cli\n"
        "cli(sys.argv[1:], standalone_mode=False)\n"
        "print([m for m in ('torch._dynamo', 'torch._inductor') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_importing_pixweave_never_imports_torch() -> None:
    code = (
        "import sys, pixweave, pixweave.recipe; "
        "print([name for name in ('torch', 'rich') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_it_answers_at_once() -> None:
    """A bound five times the goal of 0.4 s: it catches a heavy import, not a busy machine."""
    for words in LIGHT:
        best = 9.9
        for _ in range(2):
            began = time.monotonic()
            subprocess.run(
                [sys.executable, "-m", "pixweave", *words], cwd=ROOT, capture_output=True
            )
            best = min(best, time.monotonic() - began)
        assert best < 2, words
