"""Device and precision of a run."""

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
"""How many times faster a lower precision must be on the CPU for `auto` to choose it."""


def choose_device(word: str) -> torch.device:
    """The device for a recipe's setting: `cpu`, `cuda`, `cuda:1`, `mps` or `auto` (the fastest).

    MissingError if this machine does not have it, RunError for an unknown name.
    """
    if word == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if _count(kind)))
    kind, _, index = word.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not index.isdecimal()):
        hint = did_you_mean(kind, ("auto", "cpu", "cuda", "mps"))
        raise RunError(f"unknown device '{word}'; {hint}")
    count = _count(kind)
    if not count:
        raise MissingError(f"device '{word}' is not available: {_why(kind)}; use 'auto' or 'cpu'")
    if int(index or 0) >= count:
        most = f"only '{kind}:0'" if count == 1 else f"'{kind}:0' to '{kind}:{count - 1}'"
        raise MissingError(f"device '{word}' is not available: this machine has {most}")
    return torch.device(word)


def choose_precision(word: str, device: torch.device) -> torch.dtype:
    """The precision of perceptors: `float32`, `bfloat16`, `float16` or `auto`.

    `auto` is bf16 on a CUDA device with hardware support, float32 on mps. On the CPU a short
    timed matrix product (once per process, about 30 ms) decides: bf16 if it is clearly faster, as
    on CPUs that multiply it natively (AMX, or AVX512-BF16 on Zen 5), otherwise float32. The same
    machine gives the same answer; set a precision for runs to be repeated on other machines.
    RunError for an unknown name.
    """
    if word != "auto":
        if word not in PRECISIONS:
            hint = did_you_mean(word, ("auto", *PRECISIONS))
            raise RunError(f"unknown precision '{word}'; {hint}")
        return PRECISIONS[word]
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if native else torch.float32
    if device.type == "cpu" and speedup(torch.bfloat16) >= CLEARLY:
        return torch.bfloat16
    return torch.float32


@cache
def speedup(dtype: torch.dtype) -> float:
    """How many times faster this CPU multiplies matrices in `dtype` than in float32."""
    return _seconds(torch.float32) / _seconds(dtype)


def _seconds(dtype: torch.dtype) -> float:
    """The shortest time of a matrix product of a size typical for vision transformers."""
    x, w = torch.ones(256, 768, dtype=dtype), torch.ones(768, 768, dtype=dtype)
    times = []
    with torch.no_grad():
        for _ in range(10):  # the first one also initialises the library
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
