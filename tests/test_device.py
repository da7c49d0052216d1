"""Device and precision: what is asked for, or a clear word why not."""

from __future__ import annotations

import pytest
import torch

from pixweave.engine import device
from pixweave.engine.device import choose_device, choose_precision
from pixweave.errors import MissingError, RunError

CPU, CUDA, MPS = (torch.device(kind) for kind in ("cpu", "cuda", "mps"))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """A machine whose devices a test decides."""
    counts = {"cuda": 0, "mps": 0, "cpu": 1}
    monkeypatch.setattr(device, "_count", counts.__getitem__)
    return counts


def test_auto_takes_cuda_then_mps_then_the_cpu(machine: dict[str, int]) -> None:
    assert choose_device("auto") == CPU
    machine["mps"] = 1
    assert choose_device("auto") == MPS
    machine["cuda"] = 2
    assert choose_device("auto") == CUDA


def test_a_named_device_is_taken_when_it_is_there(machine: dict[str, int]) -> None:
    machine["cuda"] = 2
    assert choose_device("cpu") == CPU
    assert choose_device("cuda:1") == torch.device("cuda", 1)


@pytest.mark.parametrize(
    ("count", "word", "message"),
    [
        (
            0,
            "cuda",
            "device 'cuda' is not available: torch finds no CUDA device or no driver for it; "
            "use 'auto' or 'cpu'",
        ),
        (1, "cuda:1", "device 'cuda:1' is not available: this machine has only 'cuda:0'"),
        (2, "cuda:2", "device 'cuda:2' is not available: this machine has 'cuda:0' to 'cuda:1'"),
    ],
)
def test_a_device_that_is_not_there_is_named_with_the_reason(
    machine: dict[str, int], monkeypatch: pytest.MonkeyPatch, count: int, word: str, message: str
) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    machine["cuda"] = count
    with pytest.raises(MissingError) as error:
        choose_device(word)
    assert str(error.value) == message


def test_a_torch_without_cuda_or_metal_says_so(
    machine: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(torch.backends.mps, "is_built", lambda: False)
    for word, what in (("cuda", "CUDA"), ("mps", "Metal")):
        with pytest.raises(MissingError) as error:
            choose_device(word)
        assert str(error.value) == (
            f"device '{word}' is not available: this torch is built without {what}; "
            "use 'auto' or 'cpu'"
        )


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("cudda", "did you mean 'cuda'?"),
        ("cuda:x", "did you mean 'cuda'?"),
        ("npu9", "choose from auto, cpu, cuda, mps"),
    ],
)
def test_a_device_that_does_not_exist_gets_the_nearest_name(word: str, hint: str) -> None:
    with pytest.raises(RunError) as error:
        choose_device(word)
    assert str(error.value) == f"unknown device '{word}'; {hint}"


def test_a_named_precision_is_taken_as_it_is() -> None:
    assert choose_precision("float32", CPU) == torch.float32
    assert choose_precision("bfloat16", CPU) == torch.bfloat16
    assert choose_precision("float16", CUDA) == torch.float16


def test_a_precision_that_does_not_exist_gets_the_nearest_name() -> None:
    with pytest.raises(RunError) as error:
        choose_precision("bfloat-16", CPU)
    assert str(error.value) == "unknown precision 'bfloat-16'; did you mean 'bfloat16'?"


@pytest.mark.parametrize(("gain", "dtype"), [(0.5, "float32"), (1.4, "float32"), (4, "bfloat16")])
def test_auto_is_bf16_on_a_cpu_only_where_it_is_clearly_faster(
    monkeypatch: pytest.MonkeyPatch, gain: float, dtype: str
) -> None:
    monkeypatch.setattr(device, "speedup", lambda dtype: gain)
    assert choose_precision("auto", CPU) == getattr(torch, dtype)


def test_auto_asks_a_cuda_device_and_keeps_float32_on_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    for native, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda n=native, **_: n)
        assert choose_precision("auto", CUDA) == dtype
    assert choose_precision("auto", MPS) == torch.float32


def test_the_probe_is_taken_once_and_leaves_the_random_state_alone() -> None:
    device.speedup.cache_clear()
    before = torch.get_rng_state()
    first = device.speedup(torch.bfloat16)
    assert first > 0
    assert device.speedup(torch.bfloat16) == first
    assert torch.equal(torch.get_rng_state(), before)
