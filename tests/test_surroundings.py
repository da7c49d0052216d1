"""Surroundings that are not as expected: a full disk behind stdout, a user without a home."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

NO_HOME = """
import os, pwd, sys
def nobody(uid):
    raise KeyError(uid)
pwd.getpwuid = nobody
os.environ.pop("HOME", None)
from pixweave.cli import cli
cli(sys.argv[1:])
"""


def pixweave(*words: str, code: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
    start = ["-c", code] if code else ["-m", "pixweave"]
    command = [sys.executable, *start, *words]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run(command, text=True, check=False, **streams)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize(
    "words",
    [
        ["ls"],
        ["plugins"],
        ["show", "pixel"],
        ["explain", "hello"],
        ["validate", "hello", "--json"],
        ["schema"],
        ["models", "ls"],
    ],
)
def test_a_stdout_that_is_full_is_told_in_a_line(words: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = pixweave(*words, stdout=full)
    assert done.returncode == 1
    assert done.stderr == "pixweave: cannot write to stdout: No space left on device\n"


def test_a_reader_that_has_gone_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as gone:
        done = pixweave("schema", stdout=gone)
    assert done.stderr == ""


@pytest.mark.slow
@pytest.mark.parametrize("named", [True, False])
def test_a_user_without_a_home_can_do_everything(tmp_path: Path, named: bool) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    environment.pop("PIXWEAVE_HOME", None)
    if named:
        environment["PIXWEAVE_HOME"] = str(tmp_path / "mine")
    environment["OMP_NUM_THREADS"] = "1"
    options: Any = {"code": NO_HOME, "cwd": tmp_path, "env": environment}
    drawn = pixweave("run", "hello", "-q", "-n", "1", "-s", "size=16", **options)
    assert (drawn.returncode, drawn.stderr) == (0, "")
    listed = pixweave("models", "ls", "tiny", **options)
    assert (listed.returncode, listed.stderr) == (0, "")
    pictures = str(Path(drawn.stdout.strip()).parent)
    assert pixweave("index", pictures, **options).returncode == 0
    found = pixweave("search", "a sunset", "--top", "1", **options)
    assert found.returncode == 0, found.stderr
    assert found.stdout.endswith("hello.png\n")
    home = tmp_path / ("mine" if named else f"pixweave-{os.getuid()}")
    assert home.is_dir()
