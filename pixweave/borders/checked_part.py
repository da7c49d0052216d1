"""CheckedPart: the instance of a part as the host sees it, guarded and checked.

Whoever calls a part goes through here, the host or another part, so the one that did the work is
named and not the one that asked for it. Shapes are compared at every call; values are read at the
first call and when a shape changes, because reading them waits for a GPU.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeGuard

from pixweave.borders.guard import Guard, describe_error, full_name
from pixweave.borders.tensor_checks import Handed
from pixweave.borders.wording import describe, missing_from
from pixweave.component import Part
from pixweave.errors import PartError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from pixweave.protocols import Stateful


@dataclass(frozen=True)
class Host:
    """What checks need to know of the run: its device, its size (width, height), its warnings."""

    device: torch.device
    size: tuple[int, int]
    warn: Callable[[str], None]


class CheckedPart:
    """Passes everything on to the instance; calls of `guarded` methods name the part in errors.

    Subclasses check what the methods of one kind of part give.
    """

    required: ClassVar[tuple[str, ...]] = ()
    """Methods and attributes that the instance must have."""
    arguments: ClassVar[tuple[str, ...]] = ()
    """The arguments of an instance that is called itself."""
    guarded: ClassVar[frozenset[str]] = frozenset({"state_dict", "load_state_dict"})

    def __init__(self, part: Part, instance: Any, host: Host) -> None:
        self._part, self._instance, self._host = part, instance, host
        self._name = full_name(part)
        self._called: set[str] = set()
        self._seen: dict[str, Any] = {}
        self._check_instance()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") and not name.startswith("__"):
            raise AttributeError(name)
        value = self._attribute(name)
        if name not in self.guarded:
            self._check_attribute(name, value)
            return value
        check = getattr(type(self), f"_checked_{name}", None)
        return (
            partial(self._call_checked, name, value, check)
            if check
            else partial(self._call, name, value)
        )

    def _attribute(self, name: str) -> Any:
        """An attribute of the instance; AttributeError if it has none of that name."""
        try:
            return getattr(self._instance, name)
        except AttributeError:
            raise
        except Exception as error:  # a property, or __getattr__
            fault = f"has an attribute '{name}' that raised {describe_error(error)}"
            raise PartError(self._name, fault) from error

    def _check_attribute(self, name: str, value: Any) -> None:
        """Check an optional attribute that is read; subclasses check more."""
        if name == "info" and not isinstance(value, str):
            self._fail(f"has the info {describe(value)}; it must be a short text")

    def _check_instance(self) -> None:
        try:
            self._check(missing_from(self._instance, self._required()))
        except PartError:
            raise
        except Exception as error:  # a property, or __getattr__
            self._fail(f"raised {describe_error(error)} when its attributes were read")
        if self.arguments:
            self._check_arguments()

    def _required(self) -> tuple[str, ...]:
        return self.required

    def _check_arguments(self) -> None:
        names = ", ".join(self.arguments)
        try:
            inspect.signature(self._instance).bind(*self.arguments)
        except (TypeError, ValueError):
            self._fail(
                f"must accept the arguments ({names}); change the object that build(run) returns"
            )

    def _call(self, name: str, method: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a method under the part's name; the first call is guarded more thoroughly."""
        first = name not in self._called
        with Guard(self._name, self._host.warn, thorough=first):
            result = method(*args, **kwargs)
        self._called.add(name)
        return result

    def _call_checked(
        self, name: str, method: Callable[..., Any], check: Any, /, *args: Any, **kwargs: Any
    ) -> Any:
        result = self._call(name, method, *args, **kwargs)
        check(self, result)
        return result

    def _is_new(self, name: str, value: Any) -> bool:
        """Whether a tensor is the first of its name, or has another shape, dtype or device."""
        key = (
            (tuple(value.shape), value.dtype, value.device)
            if hasattr(value, "shape")
            else type(value)
        )
        if self._seen.get(name) == key:
            return False
        self._seen[name] = key
        return True

    def _handed(self, call: str, **tensors: Tensor | None) -> list[Handed]:
        first = call not in self._called
        return [Handed(n, t, first) for n, t in tensors.items() if t is not None]

    def _check_handed(self, handed: list[Handed]) -> None:
        for tensor in handed:
            self._check(tensor.fault())

    def _check(self, fault: str) -> None:
        """Raise the PartError of a fault, unless it is ''."""
        if fault:
            self._fail(fault)

    def _check_gradient(self, source: Tensor, result: Tensor, what: str) -> None:
        import torch

        if torch.is_grad_enabled() and source.requires_grad and not result.requires_grad:
            self._fail(
                f"gave {what} without a gradient; compute them without detach(), .data or no_grad()"
            )

    def _fail(self, fault: str) -> None:
        raise PartError(self._name, fault)


def is_stateful(instance: object) -> TypeGuard[Stateful]:
    """Whether a part keeps state from step to step, which a resumed run must restore."""
    return hasattr(instance, "state_dict") and hasattr(instance, "load_state_dict")
