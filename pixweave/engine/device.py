"""Where a run computes, and in which precision."""

from __future__ import annotations

import time
from functools import cache

import torch

from pixweave.errors import MissingError, RunError, did_you_mean

PRECISIONS = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
"""The precisions that a recipe can ask for, besides `auto`."""

CLEARLY = 1.5
"""How many times faster a lower precision must be on the CPU before `auto` takes it."""


def choose_device(word: str) -> torch.device:
    """The device that a recipe asks for: `cpu`, `cuda`, `cuda:1`, `mps`; `auto` takes the fastest.

    MissingError when it is not there, RunError when there is no device of that name.
    """
    if word == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if _count(kind)))
    kind, _, index = word.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not index.isdecimal()):
        hint = did_you_mean(kind, ("auto", "cpu", "cuda", "mps"))
        raise RunError(f"there is no device '{word}'; {hint}")
    count = _count(kind)
    if not count:
        raise MissingError(f"device '{word}' is not there: {_why(kind)}; use 'auto' or 'cpu'")
    if int(index or 0) >= count:
        most = f"only '{kind}:0'" if count == 1 else f"'{kind}:0' to '{kind}:{count - 1}'"
        raise MissingError(f"device '{word}' is not there: this machine has {most}")
    return torch.device(word)


def choose_precision(word: str, device: torch.device) -> torch.dtype:
    """The precision in which perceptors compute: `float32`, `bfloat16`, `float16` or `auto`.

    `auto` is bf16 on a CUDA device that has it in hardware, float32 on mps. On the CPU it takes
    what a short timed product of matrices (once per process, about 30 ms) finds clearly faster:
    bf16 on CPUs that multiply it natively (AMX, or AVX512-BF16 on Zen 5), float32 elsewhere.
    The same machine gives the same answer; a run that must be repeated elsewhere names its own.
    """
    if word != "auto":
        if word not in PRECISIONS:
            hint = did_you_mean(word, ("auto", *PRECISIONS))
            raise RunError(f"there is no precision '{word}'; {hint}")
        return PRECISIONS[word]
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float32
    if device.type == "cpu" and speedup(torch.bfloat16) >= CLEARLY:
        return torch.bfloat16
    return torch.float32


@cache
def speedup(dtype: torch.dtype) -> float:
    """How many times faster this CPU multiplies matrices of `dtype` than of float32."""
    return _seconds(torch.float32) / _seconds(dtype)


def _seconds(dtype: torch.dtype) -> float:
    """The least time of a product of the size that vision transformers make."""
    x, w = torch.ones(256, 768, dtype=dtype), torch.ones(768, 768, dtype=dtype)
    times = []
    with torch.no_grad():
        for _ in range(10):  # the first one also sets the library up
            start = time.perf_counter()
            torch.nn.functional.linear(x, w)
            times.append(time.perf_counter() - start)
    return min(times)


def _count(kind: str) -> int:
    if kind == "cuda":
        return torch.cuda.device_count() if torch.cuda.is_available() else 0
    return int(kind == "cpu" or torch.backends.mps.is_available())


def _why(kind: str) -> str:
    if kind == "mps":
        built = torch.backends.mps.is_built()
        return "this machine has no Metal" if built else "this torch is built without Metal"
    if torch.version.cuda is None and torch.version.hip is None:
        return "this torch is built without CUDA"
    return "torch finds no CUDA device or no driver for it"
