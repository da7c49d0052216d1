"""Numbers over time: constants, keyframes, expressions, and what they refuse."""

from __future__ import annotations

import copy
import math
import pickle
from itertools import pairwise
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from pixweave.component import Settings
from pixweave.errors import InvalidValue
from pixweave.recipe import Moment, Value, over_time
from pixweave.timeline.values import Bounds


def at(raw: Any, step: float, steps: int = 101, fps: float = 10, **inputs: Any) -> float:
    named = {name: Value(value) for name, value in inputs.items()}
    return Value(raw).at(Moment(step, steps, fps, named))


def test_a_constant_never_changes() -> None:
    assert at(0.5, 0) == at(0.5, 100) == 0.5
    assert Value(3).constant == 3
    assert Value("2 * pi").constant == pytest.approx(2 * math.pi)
    assert Value({0: 1, "end": 1}).constant == 1
    assert Value({0: 1, "end": 2}).constant is None
    assert Value("t").constant is None


def test_keys_are_frames_seconds_percentages_and_ends() -> None:
    raw = {"start": 0, "20": 2, "5s": 5, "75%": 7.5, "end": 10}
    assert [at(raw, step) for step in (0, 10, 20, 50, 75, 100)] == [0, 1, 2, 5, 7.5, 10]
    assert at({0: 0, "500ms": 1}, 5) == 1


def test_keys_need_no_order_and_hold_outside() -> None:
    raw = {"50%": 1, 10: 0}
    assert [at(raw, step) for step in (0, 10, 30, 50, 99)] == [0, 0, 0.5, 1, 1]


@pytest.mark.parametrize(
    ("ease", "quarter"),
    [("linear", 0.25), ("hold", 0), ("smooth", 0.15625), ("in", 0.0625), ("out", 0.4375)],
)
def test_eases(ease: str, quarter: float) -> None:
    assert at({0: 0, 100: 1, "ease": ease}, 25) == quarter
    assert at({0: {"value": 0, "ease": ease}, 100: 1}, 25) == quarter
    assert at({0: 0, 100: 1, "ease": ease}, 100) == 1


def test_one_key_can_have_its_own_ease() -> None:
    raw = {0: {"value": 0, "ease": "hold"}, 50: 1, 100: 0}
    assert [at(raw, step) for step in (25, 50, 75)] == [0, 1, 0.5]


def test_a_single_step_is_the_start() -> None:
    assert at({"start": 3, "50%": 4, "end": 5}, 0, steps=1) == 3
    assert Moment(0, 1).p == 0


def test_expressions_see_the_clock_and_the_inputs() -> None:
    assert at("f + t + p", 50) == 50 + 5 + 0.5
    assert at("amp * sin(2 * pi * t)", 2.5, amp=3) == pytest.approx(3)
    assert at("b", 4, a="f * 2", b="a + 1") == 9
    assert at("1 if f < 3 else 2", 3) == 2
    assert at("clamp(f, 2, 5) + lerp(0, 10, 0.5) + smooth(0.5)", 9) == 10.5
    assert at("max(1, 2, 3) - min(4, 5) + abs(-2) + floor(1.5) + ceil(1.5)", 0) == 4
    assert Value("a * sin(t) + pi").names == {"a", "t"}


def test_inputs_are_worked_out_once_a_moment() -> None:
    names = "abcdghijklmnoqrsuvwxyz"  # doubling each time: 2 ** 21 evaluations without a memory
    inputs: dict[str, Any] = {"a": "t"}
    inputs |= {b: f"{a} / 2 + {a} / 2" for a, b in pairwise(names)}
    assert at("z", 10, **inputs) == pytest.approx(1)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (True, "must be a number, keyframes or an expression, not true"),
        (None, "must be a number, keyframes or an expression, not null"),
        ([1], "must be a number, keyframes or an expression, not a list"),
        (math.nan, "must be a finite number, not nan"),
        (
            "",
            "is neither a number nor a valid expression: ''; write one like '0.5 + 0.2 * sin(t)'",
        ),
        (
            "1,5",
            "is not an expression of numbers: '1,5'; use + - * / // % **, comparisons, "
            "a if b else c, and abs, ceil, clamp, cos, exp, floor, lerp, log, max, min, sin, "
            "smooth, sqrt, tan",
        ),
        (
            "__import__('os')",
            "calls the unknown function '__import__'; choose from abs, ceil, clamp, "
            "cos, exp, floor, lerp, log, max, min, sin, smooth, sqrt, tan",
        ),
        (
            "[t for t in t]",
            "is not an expression of numbers: '[t for t in t]'; use + - * / // % **, "
            "comparisons, a if b else c, and abs, ceil, clamp, cos, exp, floor, "
            "lerp, log, max, min, sin, smooth, sqrt, tan",
        ),
        (
            {"-1": 2},
            "has an invalid key '-1'; keys are a frame (12), seconds (2s, 500ms), a percentage "
            "(50%), start or end",
        ),
    ],
)
def test_what_is_no_value(raw: Any, said: str) -> None:
    with pytest.raises(InvalidValue) as error:
        Value(raw)
    assert str(error.value) == said


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (
            "9 ** 9 ** 9",
            "has no value; a number is too large, or it takes the root of a negative number",
        ),
        (
            "(0 - 2) ** 0.5",
            "has no value; a number is too large, or it takes the root of a negative number",
        ),
        ("1 / 0", "divides by zero; add a small number to the divisor"),
        ("1e308 * 10", "is not a finite number (inf)"),
    ],
)
def test_expressions_without_a_value(raw: str, said: str) -> None:
    with pytest.raises(InvalidValue) as error:
        at(raw, 0)
    assert str(error.value) == said


def test_two_keys_at_one_time() -> None:
    with pytest.raises(InvalidValue, match=r"has two keys at step 50: '5s' and '50%'; remove one"):
        at({"5s": 1, "50%": 2}, 0)


def test_the_range_is_checked_at_every_step() -> None:
    def moment(step: int) -> Moment:
        return Moment(step, 100, 10)

    Value("f / 99").check(moment, Bounds(ge=0, le=1))
    with pytest.raises(InvalidValue) as error:
        Value("f / 97").check(moment, Bounds(ge=0, le=1))
    assert str(error.value) == "must be between 0 and 1; 'f / 97' is 1.01 at step 98 (9.8 s)"


def test_values_are_immutable_equal_and_portable() -> None:
    made = Value({0: 1, "50%": {"value": 2, "ease": "hold"}, "ease": "smooth"})
    same = Value(made.raw)
    assert made == same
    assert hash(made) == hash(same)
    assert made != Value(1)
    assert Value(1) == Value(1.0)
    assert pickle.loads(pickle.dumps(made)) == made
    assert copy.deepcopy(made) == made
    with pytest.raises(AttributeError):
        made.body = 3


class Sample(Settings):
    """Settings with values over time."""

    amount: Value = over_time(0.5, ge=0, le=1, description="how much")
    rate: Value | None = over_time(None, gt=0, description="how fast")


def test_settings_with_values() -> None:
    made = Sample.model_validate({"amount": {0: 0, "end": 1}, "rate": "0.1 + t"})
    assert Sample().amount == Value(0.5)
    assert Sample().rate is None
    assert made.model_dump() == {"amount": {"0": 0, "end": 1}, "rate": "0.1 + t"}
    for raw in (2, {0: 0, "end": 2}, "2"):
        with pytest.raises(ValidationError, match="must be between 0 and 1, not 2"):
            Sample.model_validate({"amount": raw})
    with pytest.raises(ValidationError, match="must be above 0, not 0"):
        Sample.model_validate({"rate": 0})


def test_the_json_schema_has_the_range() -> None:
    schema = Sample.model_json_schema()["properties"]["amount"]
    assert schema["anyOf"][0] == {"type": "number", "minimum": 0, "maximum": 1}
    assert [branch["type"] for branch in schema["anyOf"]] == ["number", "string", "object"]
    assert schema["default"] == 0.5
    assert TypeAdapter(Value).validate_python(3) == Value(3)
