"""Pickled checkpoints made safetensors: old layouts are read, and nothing in them is run."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import warnings
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from pixweave.errors import MissingError, RunError
from pixweave.models.convert import convert

STATE = OrderedDict(
    {"decoder.w": torch.arange(6.0).reshape(2, 3), "loss.w": torch.ones(4, dtype=torch.float16)}
)


@contextmanager
def faked(**classes: type) -> Iterator[None]:
    """Classes under the module names of libraries that are not there, while a file is written."""
    before = dict(sys.modules)
    for path in classes:
        module = path.replace("__", ".").rpartition(".")[0]
        for depth in range(len(module.split("."))):
            parent = ".".join(module.split(".")[: depth + 1])
            sys.modules[parent] = ModuleType(parent)
    for path, made in classes.items():
        module, _, name = path.replace("__", ".").rpartition(".")
        made.__module__, made.__qualname__, made.__name__ = module, name, name
        setattr(sys.modules[module], name, made)
    try:
        yield
    finally:
        sys.modules.clear()
        sys.modules.update(before)


class Plain:
    """An object with a state, as omegaconf's are."""

    def __init__(self, **state: Any) -> None:
        self.__dict__.update(state)


def saved(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return dict(file.metadata())


def lightning(version: str) -> dict[str, Any]:
    """A checkpoint as that version of Lightning lays it out; its classes must be faked."""
    content: dict[str, Any] = {
        "epoch": 3,
        "global_step": 1200,
        "pytorch-lightning_version": version,
        "state_dict": STATE,
        "optimizer_states": [{"state": {0: {"m": torch.zeros(2)}}}],
        "lr_schedulers": [],
    }
    return content


@pytest.mark.parametrize("zipped", [True, False])
def test_lightning_1_0_with_classes_as_keys(tmp_path: Path, zipped: bool) -> None:
    checkpoint = type("ModelCheckpoint", (), {})
    stopping = type("EarlyStopping", (), {})
    attributes = type("AttributeDict", (dict,), {})
    with faked(
        pytorch_lightning__callbacks__model_checkpoint__ModelCheckpoint=checkpoint,
        pytorch_lightning__callbacks__early_stopping__EarlyStopping=stopping,
        pytorch_lightning__utilities__parsing__AttributeDict=attributes,
    ):
        content = lightning("1.0.8") | {
            "callbacks": {
                checkpoint: {"best_model_score": np.float64(0.25), "best": "a.ckpt"},
                stopping: {"wait": 3, "scores": np.ones(3)},
            },
            "hparams_name": "kwargs",
            "hyper_parameters": attributes(embed_dim=256, ddconfig={"ch_mult": [1, 1, 2]}),
        }
        options = {"_use_new_zipfile_serialization": zipped}
        source = saved(tmp_path / "last.ckpt", content, **options)
    done = convert(source, tmp_path / "out.safetensors")
    found = load_file(done.path)
    assert list(found) == list(STATE)
    for name, tensor in STATE.items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype
    told = metadata(done.path)
    assert told["format"] == "pt"
    assert told["source"] == "last.ckpt"
    assert told["source_sha256"] == sha256(source.read_bytes()).hexdigest()
    kept = json.loads(told["checkpoint"])
    assert kept["epoch"] == 3
    assert kept["global_step"] == 1200
    assert kept["pytorch-lightning_version"] == "1.0.8"
    assert kept["hyper_parameters"] == {"embed_dim": 256, "ddconfig": {"ch_mult": [1, 1, 2]}}
    assert done.tensors == 2
    assert set(done.dropped) == {"callbacks", "optimizer_states"}
    assert "pytorch_lightning" not in sys.modules or sys.modules["pytorch_lightning"].__file__


def test_lightning_1_5_with_omegaconf(tmp_path: Path) -> None:
    classes = {
        "omegaconf__dictconfig__DictConfig": type("DictConfig", (Plain,), {}),
        "omegaconf__listconfig__ListConfig": type("ListConfig", (Plain,), {}),
        "omegaconf__nodes__AnyNode": type("AnyNode", (Plain,), {}),
        "omegaconf__base__ContainerMetadata": type("ContainerMetadata", (Plain,), {}),
    }
    mapping, listing, node, meta = classes.values()
    with faked(**classes):
        about = meta(ref_type=Any, object_type=dict, optional=True, key_type=str)
        config = mapping(
            _metadata=about,
            _parent=None,
            _content={
                "embed_dim": node(_metadata=about, _parent=None, _val=64),
                "mults": listing(_metadata=about, _content=[node(_metadata=about, _val=2)]),
            },
        )
        key = "ModelCheckpoint{'monitor': 'val/loss', 'mode': 'min'}"
        content = lightning("1.5.10") | {
            "callbacks": {key: {"best_model_score": torch.tensor(0.5), "best_model_path": "a"}},
            "hyper_parameters": config,
        }
        source = saved(tmp_path / "a.ckpt", content)
    kept = json.loads(metadata(convert(source, tmp_path / "out.safetensors").path)["checkpoint"])
    assert kept["hyper_parameters"] == {"embed_dim": 64, "mults": [2]}
    assert kept["callbacks"] == {key: {"best_model_path": "a"}}


def test_lightning_2(tmp_path: Path) -> None:
    content = lightning("2.4.0") | {
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 4}}}},
        "callbacks": {},
        "MixedPrecision": {"scale": 65536.0},
        "datamodule_hyper_parameters": {"where": Path("/data"), "size": 256},
    }
    source = saved(tmp_path / "a.ckpt", content)
    kept = json.loads(metadata(convert(source, tmp_path / "out.safetensors").path)["checkpoint"])
    assert kept["loops"]["fit_loop"]["epoch_progress"] == {"total": {"ready": 4}}
    assert kept["datamodule_hyper_parameters"] == {"size": 256}


def test_a_bare_state_dict_with_parameters_and_shared_memory(tmp_path: Path) -> None:
    weight = nn.Parameter(torch.rand(3, 2))
    source = saved(tmp_path / "a.pt", {"a": weight, "tied": weight, "t": weight.t(), "n": "word"})
    done = convert(source, tmp_path / "out.safetensors")
    found = load_file(done.path)
    assert torch.equal(found["a"], weight)
    assert torch.equal(found["tied"], weight)
    assert torch.equal(found["t"], weight.t())
    assert done.dropped == ("n",)


def test_tensors_can_be_left_out(tmp_path: Path) -> None:
    source = saved(tmp_path / "a.ckpt", {"state_dict": STATE})
    assert list(load_file(convert(source, tmp_path / "o.safetensors", ("loss.",)).path)) == [
        "decoder.w"
    ]
    with pytest.raises(RunError) as caught:
        convert(source, tmp_path / "none.safetensors", ("loss.", "decoder."))
    assert str(caught.value) == f"'{source}' contains no tensors besides those left out"
    assert not (tmp_path / "none.safetensors").exists()


class Bomb:
    """Runs a command when it is unpickled in the common way."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    ("function", "name"),
    [
        (os.system, f"{os.system.__module__}.system"),
        (eval, "eval"),
        (subprocess.Popen, "subprocess.Popen"),
        (os.open, f"{os.open.__module__}.open"),
    ],
)
def test_a_malicious_pickle_is_refused_and_nothing_is_run(
    tmp_path: Path, zipped: bool, function: Any, name: str
) -> None:
    trap = tmp_path / "ran"
    args = {
        eval: (f"open({str(trap)!r}, 'w')",),
        os.system: (f"touch {trap}",),
        subprocess.Popen: (["touch", str(trap)],),
        os.open: (str(trap), os.O_CREAT),
    }[function]
    content = {"state_dict": STATE, "callbacks": Bomb(function, *args)}
    options = {"_use_new_zipfile_serialization": zipped}
    source = saved(tmp_path / "bad.ckpt", content, **options)
    with pytest.raises(RunError) as caught:
        convert(source, tmp_path / "out.safetensors")
    assert str(caught.value) == (
        f"'{source}' is refused: it contains '{name}', which is not data; nothing in it was "
        "executed. Get the weights as .safetensors from a source that you trust"
    )
    assert not trap.exists()
    assert not (tmp_path / "out.safetensors").exists()


def test_a_class_of_nobody_is_refused_by_name(tmp_path: Path) -> None:
    with faked(main__SetupCallback=type("SetupCallback", (), {})):
        key = sys.modules["main"].SetupCallback
        source = saved(tmp_path / "a.ckpt", {"state_dict": STATE, "callbacks": {key: 1}})
    with pytest.raises(RunError, match=r"it contains 'main\.SetupCallback', which is not data"):
        convert(source, tmp_path / "out.safetensors")


def test_a_stand_in_is_never_the_real_thing(tmp_path: Path) -> None:
    """A name of a library that is installed gets a stand-in too: it is not imported."""
    trap = tmp_path / "ran"
    folder = tmp_path / "lib" / "omegaconf"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(f"open({str(trap)!r}, 'w')\n")
    with faked(omegaconf__Thing=type("Thing", (Plain,), {})):
        thing = sys.modules["omegaconf"].Thing(a=1)
        source = saved(tmp_path / "a.ckpt", {"state_dict": STATE, "x": thing})
    sys.path.insert(0, str(tmp_path / "lib"))
    try:
        done = convert(source, tmp_path / "out.safetensors")
    finally:
        sys.path.remove(str(tmp_path / "lib"))
    assert done.dropped == ("x",)
    assert not trap.exists()


def test_files_that_are_no_checkpoint(tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    with pytest.raises(MissingError) as missing:
        convert(tmp_path / "no.ckpt", out)
    assert str(missing.value) == f"there is no file '{tmp_path}/no.ckpt'"
    listing = saved(tmp_path / "list.ckpt", [1, 2])
    empty = saved(tmp_path / "empty.ckpt", {"state_dict": {}})
    (tmp_path / "void.ckpt").write_bytes(b"")
    (tmp_path / "text.ckpt").write_text("hello there, this is no pickle")
    (tmp_path / "four.ckpt").write_bytes(pickle.dumps({"a": 1}, protocol=4))
    cut = saved(tmp_path / "cut.ckpt", {"state_dict": {"a": torch.rand(100, 100)}})
    cut.write_bytes(cut.read_bytes()[:20_000])
    with warnings.catch_warnings(action="ignore"):
        module = torch.jit.script(nn.Linear(1, 1))
        module.save(str(tmp_path / "script.ckpt"))
    said = {}
    for name in ("list", "empty", "void", "text", "four", "cut", "script"):
        with pytest.raises(RunError) as caught:
            convert(tmp_path / f"{name}.ckpt", out)
        said[name] = str(caught.value).replace(f"'{tmp_path}/{name}.ckpt' ", "")
    assert listing.exists()
    assert empty.exists()
    assert said == {
        "list": "contains no state dict of tensors",
        "empty": "contains no tensors",
        "void": "is not a checkpoint: it is truncated",
        "text": "is not a checkpoint: it is not a pickle that torch wrote",
        "four": "is not a checkpoint: torch does not write this kind of pickle",
        "cut": "is not a checkpoint: it is truncated or corrupt",
        "script": "is not a checkpoint: it is a TorchScript archive, which contains code",
    }
    assert not out.exists()


def test_a_target_that_cannot_be_written(tmp_path: Path) -> None:
    source = saved(tmp_path / "a.ckpt", {"state_dict": STATE})
    with pytest.raises(RunError) as caught:
        convert(source, tmp_path / "no" / "out.safetensors")
    assert str(caught.value).startswith(f"'{tmp_path}/no/out.safetensors' cannot be written: ")
