"""The prompts of the quality benchmark: 24 simple ones and 16 harder ones."""

from __future__ import annotations

from pathlib import Path

HERE = Path(__file__).parent


def prompts() -> dict[str, list[str]]:
    """Return the prompts of ``prompts.txt`` by class: `simple` and `harder`."""
    simple, harder = (HERE.parent / "prompts.txt").read_text("utf-8").strip().split("\n\n")
    return {"simple": simple.split("\n"), "harder": harder.split("\n")}
