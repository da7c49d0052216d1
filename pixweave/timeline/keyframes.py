"""Keyframes: numbers at given times, and the easing between them."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from pixweave.errors import InvalidValue, describe_value, did_you_mean

EASES: dict[str, Callable[[float], float]] = {
    "linear": lambda x: x,
    "hold": lambda x: 0.0,
    "smooth": lambda x: x * x * (3 - 2 * x),
    "in": lambda x: x * x,
    "out": lambda x: x * (2 - x),
}
KEY = r"(?:\d+|\d+(?:\.\d+)?(?:s|ms|%)|start|end)"
LARGEST = 3e38
"""The largest number that float32 holds, about: images, weights and rates are float32."""
PERCENT = r"0*(?:100(?:\.0+)?|\d{1,2}(?:\.\d+)?)%"
KEY_UP_TO_100 = rf"(?:\d+|\d+(?:\.\d+)?(?:s|ms)|{PERCENT}|start|end)"
"""As KEY, without percentages above 100; for JSON Schema."""
_TIME = re.compile(r"(\d+(?:\.\d+)?)(s|ms|%)?")


@dataclass(frozen=True)
class Key:
    """One keyframe: a time in its unit (frame, `s`, `%`), a number, the ease to the next key."""

    written: str
    time: float
    unit: str
    value: float
    ease: str | None = None

    def step(self, steps: int, fps: float) -> float:
        """The step of the key, possibly between two steps."""
        if self.unit == "s":
            return self.time * fps
        return self.time / 100 * (steps - 1) if self.unit == "%" else self.time


@dataclass(frozen=True)
class Keyframes:
    """Numbers at times with easing between them; constant before the first and after the last."""

    keys: tuple[Key, ...]
    ease: str = "linear"

    def placed(self, steps: int, fps: float) -> list[tuple[float, Key]]:
        """The keys with their steps, sorted; raises InvalidValue if two fall on the same step."""
        placed = sorted(((k.step(steps, fps), k) for k in self.keys), key=lambda pair: pair[0])
        for (a, first), (b, second) in pairwise(placed):
            if abs(a - b) < 1e-9 and steps > 1:
                raise InvalidValue(
                    f"has two keys at step {a:g}: '{first.written}' and '{second.written}'",
                    "remove one",
                )
        return placed

    def at(self, now: float, steps: int, fps: float) -> float:
        """The number at step `now`."""
        placed = self.placed(steps, fps)
        i = bisect_right([step for step, _ in placed], now)
        if steps == 1:  # all percentages are the same step: the first key applies
            return placed[0][1].value
        if i == 0 or i == len(placed):
            return placed[max(i - 1, 0)][1].value
        (a, first), (b, second) = placed[i - 1], placed[i]
        x = EASES[first.ease or self.ease]((now - a) / (b - a))
        return first.value + (second.value - first.value) * x

    @property
    def raw(self) -> dict[str, Any]:
        """The keyframes as written in the recipe, as plain data."""
        raw: dict[str, Any] = {
            k.written: {"value": k.value, "ease": k.ease} if k.ease else k.value for k in self.keys
        }
        return raw if self.ease == "linear" else {**raw, "ease": self.ease}


def is_keyframes(keys: Iterable[str]) -> bool:
    """Whether a mapping with these keys is a mapping of keyframes."""
    return any(re.fullmatch(KEY, str(key)) for key in keys)


def number(raw: Any) -> float:
    """`raw` if it is a finite number; raises InvalidValue otherwise."""
    if isinstance(raw, bool) or not isinstance(raw, (int, float)):
        raise InvalidValue(
            f"must be a number, keyframes or an expression, not {describe_value(raw)}"
        )
    if not math.isfinite(raw):
        raise InvalidValue(f"must be a finite number, not {raw}")
    if abs(raw) > LARGEST:
        raise InvalidValue(f"must be between {-LARGEST:g} and {LARGEST:g}, not {raw:g}")
    return raw


def read(raw: Mapping[Any, Any]) -> Keyframes:
    """The keyframes of a mapping such as `{0: 1, 50%: 0.5, end: 0, ease: smooth}`."""
    ease = _ease(raw.get("ease", "linear"))
    keys = tuple(_key(str(k), v) for k, v in raw.items() if k != "ease")
    if not keys:
        raise InvalidValue("has no keyframes", "write for example {0: 1, 50%: 0.5, end: 0}")
    return Keyframes(keys, ease)


def _ease(raw: Any) -> str:
    if not isinstance(raw, str):
        message = f"must have the name of an ease, not {describe_value(raw)}"
        raise InvalidValue(message, did_you_mean("", EASES))
    if raw not in EASES:
        raise InvalidValue(f"has the unknown ease '{raw}'", did_you_mean(raw, EASES))
    return str(raw)


def _key(written: str, raw: Any) -> Key:
    ease = None
    if isinstance(raw, Mapping):
        if extra := sorted(set(raw) - {"value", "ease"}):
            raise InvalidValue(
                f"has '{extra[0]}' at key '{written}'", "a key takes 'value' and 'ease'"
            )
        ease = _ease(raw["ease"]) if "ease" in raw else None
        raw = raw.get("value")
    if isinstance(raw, bool) or not isinstance(raw, (int, float)):
        raise InvalidValue(f"must have a number at key '{written}', not {describe_value(raw)}")
    time, unit = _time(written)
    return Key(written, time, unit, number(raw), ease)


def read_time(raw: Any) -> str:
    """A valid time, as written: a step (12), seconds (2s, 500ms), a percentage, start or end."""
    written = str(raw) if isinstance(raw, (int, str)) and not isinstance(raw, bool) else ""
    if not re.fullmatch(KEY, written):
        raise InvalidValue(
            f"must be a time, not {describe_value(raw)}",
            "write a step (12), seconds (2s, 500ms), a percentage (50%), start or end",
        )
    if written.endswith("%") and float(written[:-1]) > 100:
        raise InvalidValue(f"must be a time between 0% and 100%, not {written}")
    return written


def place(written: str, steps: int, fps: float) -> float:
    """The step of a time such as `12`, `2s`, `50%`, `start` or `end`."""
    time, unit = _time(written)
    return Key(written, time, unit, 0.0).step(steps, fps)


def _time(written: str) -> tuple[float, str]:
    if written in ("start", "end"):
        return (0.0 if written == "start" else 100.0), "%"
    match = _TIME.fullmatch(written)
    if not match or (not match[2] and "." in written):
        raise InvalidValue(
            f"has an invalid key '{written}'",
            "keys are a frame (12), seconds (2s, 500ms), a percentage (50%), start or end",
        )
    number, unit = float(match[1]), match[2] or ""
    if unit == "%" and number > 100:
        raise InvalidValue(
            f"has an invalid key '{written}'", "a percentage must be between 0% and 100%"
        )
    return (number / 1000, "s") if unit == "ms" else (number, unit)
