"""Convert a pickled checkpoint to a safetensors file, without executing any code in it.

`torch.load(weights_only=True)` reads it. Objects in old Lightning files besides tensors (callback
classes as keys, omegaconf settings, numpy scalars) are replaced by inert stand-ins, from a list of
names: they store their state and do nothing. Every other name is refused.
"""

from __future__ import annotations

import errno
import json
import pickle
import pickletools
import re
import warnings
import zipfile
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING  # names of Python 2, as torch maps them
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixweave.errors import MissingError, RunError
from pixweave.models.model_store import sha256

HARMLESS = re.compile(
    r"(pytorch_lightning|lightning|lightning_fabric|lightning_utilities|omegaconf)\."
    r"|builtins\.(dict|list|tuple|set|int|float|complex|str|bool|bytes|object)$"
    r"|numpy\.(dtype$|ndarray$|bool_$|(int|uint|float)\d+$)"
    r"|numpy\.(_?core)\.multiarray\.(scalar|_reconstruct)$|numpy\.dtypes\.\w+DType$"
    r"|typing\.\w+$|argparse\.Namespace$|collections\.defaultdict$|_codecs\.encode$"
    r"|pathlib\.\w*Path$|copyreg\._reconstructor$"
)
"""The names that are replaced by stand-ins. None of them is ever imported."""

_DICTS = re.compile(r"\.AttributeDict$|^collections\.defaultdict$")


@dataclass(frozen=True)
class Converted:
    """The written file, and the entries of the checkpoint that could not be converted."""

    path: Path
    tensors: int
    size: int
    dropped: tuple[str, ...]


def convert(source: Path, target: Path, without: tuple[str, ...] = ()) -> Converted:
    """Write the state dict of the checkpoint `source` to `target`, a safetensors file.

    Tensors whose names begin with one of `without` are left out. The metadata is `source`,
    `source_sha256` and, as JSON, `checkpoint`: the other plain values in the file, such as epoch,
    global_step and hyper_parameters.
    MissingError if `source` does not exist; RunError if it is not a checkpoint, contains refused
    objects, or `target` cannot be written.
    """
    from safetensors.torch import save_file

    from pixweave.media.atomic_write import whole

    found = read(source)
    state, rest = _split(source, found)
    tensors, dropped = _tensors(state, without)
    if not tensors:
        others = " besides those left out" if without else ""
        raise RunError(f"'{source}' contains no tensors{others}")
    kept = {}
    for key, value in rest.items():
        try:
            kept[str(key)] = _plain(value)
        except _NotPlainError:
            dropped.append(str(key))
    metadata = {
        "format": "pt",
        "source": source.name,
        "source_sha256": sha256(source),
        "checkpoint": json.dumps(kept, sort_keys=True),
    }
    try:
        with whole(target) as part:
            save_file(tensors, part, metadata)
            size = part.stat().st_size
    except OSError as error:
        raise RunError(f"'{target}' cannot be written: {error.strerror or error}") from None
    except Exception as error:
        if type(error).__name__ != "SafetensorError":
            raise
        raise RunError(f"'{target}' cannot be written: {error}") from None
    return Converted(target, len(tensors), size, tuple(dropped))


def read(path: Path) -> Any:
    """The content of a pickled checkpoint, on the CPU; refused objects: see the module."""
    import torch

    try:
        names = sorted({name for name in _names(path) if HARMLESS.match(name)})
        with (
            warnings.catch_warnings(),
            torch.serialization.safe_globals([(_stand_in(name), name) for name in names]),
        ):
            warnings.simplefilter("ignore")  # torch warns about old formats
            zipped = zipfile.is_zipfile(path)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped or None)
    except FileNotFoundError:
        raise MissingError(f"there is no file '{path}'") from None
    except OSError as error:
        if error.errno == errno.EINVAL:  # an offset outside of the file
            raise RunError(f"'{path}' is not a checkpoint: it is truncated or corrupt") from None
        raise RunError(f"'{path}' cannot be read: {error.strerror or error}") from None
    except pickle.UnpicklingError as error:
        raise RunError(_refusal(path, str(error))) from None
    except Exception as error:  # a corrupt pickle may raise any error
        first = str(error).strip().split("\n", 1)[0] or "it is truncated"
        if isinstance(error, LookupError | AttributeError | TypeError):
            first = "it is not a pickle that torch wrote"
        if "TorchScript" in first or "torch.jit" in first:
            first = "it is a TorchScript archive, which contains code"
        raise RunError(f"'{path}' is not a checkpoint: {first}") from None


def _refusal(path: Path, error: str) -> str:
    found = re.search(r"GLOBAL (\S+)", error) or re.search(r"but got <class '(\S+)'>", error)
    if found:
        module, dot, name = found[1].rpartition(".")
        imported = f"{IMPORT_MAPPING.get(module, module)}{dot}{name}"
        return (
            f"'{path}' is refused: it contains '{imported}', which is not data; nothing in it was "
            "executed. Get the weights as .safetensors from a source that you trust"
        )
    return f"'{path}' is not a checkpoint: torch does not write this kind of pickle"


def _names(path: Path) -> Iterator[str]:
    """The names that the pickles of a file would import, without importing any."""
    with path.open("rb") as file:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                for member in archive.namelist():
                    if member.endswith("data.pkl"):
                        with archive.open(member) as pickled:
                            yield from _globals(pickled)
            return
        file.seek(0)
        for _ in range(4):  # torch before 1.6: magic number, protocol, system, the object
            yield from _globals(file)


def _globals(file: Any) -> Iterator[str]:
    try:
        for code, argument, _ in pickletools.genops(file):
            if code.name == "GLOBAL":
                module, _, name = str(argument).partition(" ")
                module, name = NAME_MAPPING.get((module, name), (module, name))
                yield f"{IMPORT_MAPPING.get(module, module)}.{name}"
    except ValueError:  # not a pickle: torch.load will report it
        return


class Inert:
    """Stand-in for an object of a class that is not imported: stores its state, does nothing."""

    inert_name = ""
    state: Any = None

    def __new__(cls, *args: Any) -> Any:
        return super().__new__(cls)

    def __init__(self, *args: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state


def _stand_in(name: str) -> Any:
    if _DICTS.search(name):
        # the safe unpickler sets items of real dicts only
        return type("InertDict", (Inert,), {"inert_name": name, "__new__": lambda cls, *a: {}})
    return type("Inert", (Inert,), {"inert_name": name})


class _NotPlainError(Exception):
    pass


def _plain(value: Any) -> Any:
    """The JSON-compatible part of a value; raises _NotPlainError if there is none."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        named = {str(k): v for k, v in value.items() if isinstance(k, str | int | float)}
        if value and not named:
            raise _NotPlainError
        return _plain_entries(named)
    if isinstance(value, list | tuple | set):
        return list(_plain_entries(dict(enumerate(value))).values())
    if isinstance(value, Inert) and isinstance(value.state, Mapping):
        inner = value.state.get("_content", value.state.get("_val", value))  # omegaconf's fields
        if inner is not value:
            return _plain(inner)
    raise _NotPlainError


def _plain_entries(entries: dict[Any, Any]) -> dict[Any, Any]:
    """The JSON-compatible entries."""
    found = {}
    for key, value in entries.items():
        try:
            found[key] = _plain(value)
        except _NotPlainError:
            continue
    if entries and not found:
        raise _NotPlainError
    return found


def _split(path: Path, found: Any) -> tuple[Mapping[Any, Any], Mapping[Any, Any]]:
    """The state dict of a checkpoint, and its other entries."""
    if not isinstance(found, Mapping):
        raise RunError(f"'{path}' contains no state dict of tensors")
    for key in ("state_dict", "model"):
        if isinstance(found.get(key), Mapping):
            return found[key], {k: v for k, v in found.items() if k != key}
    return found, {}


def _tensors(
    state: Mapping[Any, Any], without: tuple[str, ...]
) -> tuple[dict[str, Any], list[str]]:
    """Tensors that share no memory, by name; and the names of the other values."""
    from torch import Tensor

    tensors, dropped, seen = {}, [], set()
    for key, value in state.items():
        name = str(key)
        if name.startswith(without) if without else False:
            continue
        if not isinstance(value, Tensor):
            dropped.append(name)
            continue
        dense = value.detach().contiguous()
        place = dense.untyped_storage().data_ptr()
        tensors[name] = dense.clone() if place in seen or value.requires_grad else dense
        seen.add(place)
    return tensors, dropped
