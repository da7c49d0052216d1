"""Numbers that change over time: a constant, keyframes or an expression."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import AfterValidator, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import core_schema

from pixweave.errors import InvalidValue, UnknownName, did_you_mean
from pixweave.timeline import expressions, keyframes
from pixweave.timeline.expressions import CLOCK, CONSTANTS
from pixweave.timeline.keyframes import EASES, KEY_UP_TO_100, Keyframes

# Largest number of node evaluations to check one expression, about 0.3 s.
_BUDGET = 500_000


@dataclass(frozen=True)
class Moment:
    """A point in time of a run: the step, and the clock variables of expressions."""

    step: float
    steps: int
    fps: float = 24.0
    inputs: Mapping[str, Value] = field(default_factory=dict, hash=False)
    _known: dict[str, float] = field(default_factory=dict, init=False, compare=False, repr=False)

    @property
    def f(self) -> float:
        """The step, counted from 0."""
        return float(self.step)

    @property
    def t(self) -> float:
        """Seconds since the first step, at the recipe's `fps`."""
        return self.step / self.fps

    @property
    def p(self) -> float:
        """The progress of the run: 0 at the first step, 1 at the last."""
        return self.step / (self.steps - 1) if self.steps > 1 else 0.0

    @property
    def frame(self) -> int:
        """The index of the frame of this step, from 0."""
        return round(self.step)

    @property
    def time(self) -> float:
        """The same as `t`: seconds since the first step."""
        return self.t

    @property
    def progress(self) -> float:
        """The same as `p`: 0 at the first step, 1 at the last."""
        return self.p

    def name(self, name: str) -> float:
        """The current value of `t`, `f`, `p` or a named input; each input is evaluated once.

        Raises UnknownName for any other name.
        """
        if name in CLOCK:
            return float(getattr(self, name))
        if name not in self._known:
            if name not in self.inputs:
                raise UnknownName(
                    f"uses the unknown name '{name}'",
                    did_you_mean(name, [*CLOCK, *CONSTANTS, *self.inputs]),
                )
            self._known[name] = self.inputs[name].at(self)
        return self._known[name]

    def __str__(self) -> str:
        return f"step {self.step:g} ({self.t:.3g} s)"


@dataclass(frozen=True)
class Bounds:
    """The allowed range of a number; also adds it to the JSON schema of a field."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    def holds(self, number: float) -> bool:
        """Whether the number is in the range."""
        return (
            (self.ge is None or number >= self.ge)
            and (self.gt is None or number > self.gt)
            and (self.le is None or number <= self.le)
            and (self.lt is None or number < self.lt)
        )

    def __str__(self) -> str:
        if self.ge is not None and self.le is not None:
            return f"between {self.ge:g} and {self.le:g}"
        words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
        limits = [(word, getattr(self, key)) for key, word in words.items()]
        return " and ".join(f"{word} {number:g}" for word, number in limits if number is not None)

    def check(self, value: Value | None) -> Value | None:
        """The value; raises InvalidValue if one of its constant numbers is out of range."""
        for number in value.numbers if value is not None else ():
            if not self.holds(number):
                raise InvalidValue(f"must be {self}, not {number:g}")
        return value

    def __call__(self, schema: dict[str, Any]) -> None:
        """Add the range to the JSON schema of a `Value` field: to its number and its keyframes."""
        names = {
            "ge": "minimum",
            "gt": "exclusiveMinimum",
            "le": "maximum",
            "lt": "exclusiveMaximum",
        }
        if schema.get("type") == "number":
            schema.update({names[k]: v for k, v in vars(self).items() if v is not None})
        inner = schema.get("patternProperties", {}).values()
        value = schema.get("properties", {}).get("value")
        parts = [*schema.get("anyOf", []), *schema.get("prefixItems", []), *inner]
        for part in (*parts, *([value] if value else [])):
            self(part)


EXPRESSION = {
    "type": "string",
    "description": "an expression such as 0.5 + 0.2 * sin(t)",
    "maxLength": expressions.LONGEST,
    "pattern": expressions.PATTERN,
    "patternErrorMessage": "must be a number or an expression such as 0.5 + 0.2 * sin(t), with "
    f"t, f, p, pi, names from `inputs`, and {', '.join(expressions.FUNCTIONS)}",
}
"""The JSON schema of an expression."""


class Value:
    """A number over time, made from a number, a mapping of keyframes or an expression.

    `Value(0.5)`, `Value({0: 0, "50%": 1, "end": 0.2, "ease": "smooth"})`, `Value("0.5 * sin(t)")`.
    Immutable and hashable; `at(moment)` returns the number. Raises InvalidValue (a ValueError).
    """

    __slots__ = ("body",)
    body: float | Keyframes | str

    def __init__(self, raw: Any) -> None:
        object.__setattr__(self, "body", _body(raw))

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a Value is immutable; make a new one to set '{name}'")

    def __eq__(self, other: object) -> bool:
        return self.body == other.body if isinstance(other, Value) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.body)

    def __reduce__(self) -> tuple[type[Value], tuple[Any]]:
        return Value, (self.raw,)

    def at(self, moment: Moment) -> float:
        """The number at this moment; raises InvalidValue if an expression is undefined there."""
        if isinstance(self.body, Keyframes):
            return self.body.at(moment.step, moment.steps, moment.fps)
        if isinstance(self.body, str):
            return expressions.evaluate(self.body, {n: moment.name(n) for n in self.names})
        return float(self.body)

    @property
    def constant(self) -> float | None:
        """The number if it never changes, else None."""
        if isinstance(self.body, Keyframes):
            values = {key.value for key in self.body.keys}
            return values.pop() if len(values) == 1 else None
        if isinstance(self.body, str):
            return None if self.names else expressions.evaluate(self.body, {})
        return float(self.body)

    @property
    def raw(self) -> Any:
        """The value as written, as plain data: a number, a mapping or a text."""
        return self.body.raw if isinstance(self.body, Keyframes) else self.body

    @property
    def names(self) -> frozenset[str]:
        """The names that an expression uses: `t`, `f`, `p` and inputs."""
        return expressions.parse(self.body)[1] if isinstance(self.body, str) else frozenset()

    @property
    def numbers(self) -> tuple[float, ...]:
        """The numbers that do not depend on time: the constant, or those of the keys."""
        if isinstance(self.body, Keyframes):
            return tuple(key.value for key in self.body.keys)
        constant = self.constant
        return () if constant is None else (constant,)

    def check(self, moment: Callable[[int], Moment], bounds: Bounds) -> None:
        """Raise InvalidValue if the value is invalid at a step; long runs are sampled."""
        start = moment(0)
        if isinstance(self.body, Keyframes):
            self.body.placed(start.steps, start.fps)
        if not isinstance(self.body, str):
            return
        for step in _sample(start.steps, expressions.parse(self.body)[2]):
            now = moment(step)
            try:
                number = self.at(now)
            except UnknownName:
                raise  # unknown at every step
            except InvalidValue as error:
                raise InvalidValue(f"{error.message} at {now}", error.hint) from None
            if not bounds.holds(number):
                raise InvalidValue(
                    f"must be {bounds}; '{expressions.shorten(self.body)}' is {number:.4g} at {now}"
                )

    def __repr__(self) -> str:
        return f"Value({self.raw!r})"

    def __str__(self) -> str:
        return f"{self.body:g}" if isinstance(self.body, (int, float)) else str(self.raw)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda raw: raw if isinstance(raw, cls) else cls(raw),
            serialization=core_schema.plain_serializer_function_ser_schema(lambda value: value.raw),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        number = {"type": "number"}
        ease = {"enum": list(EASES), "description": "the way to the next number"}
        key = {
            "type": "object",
            "properties": {
                "value": {**number, "description": "the number at this time"},
                "ease": ease,
            },
            "required": ["value"],
            "additionalProperties": False,
        }
        return {
            "anyOf": [
                {**number},
                {**EXPRESSION},
                {
                    "type": "object",
                    "properties": {"ease": ease},
                    "minProperties": 1,
                    "dependentSchemas": {"ease": {"type": "object", "minProperties": 2}},
                    "patternProperties": {f"^{KEY_UP_TO_100}$": {"anyOf": [{**number}, key]}},
                    "additionalProperties": False,
                },
            ]
        }


def over_time(
    default: Any,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    description: str,
) -> Any:
    """A pydantic field of a setting that may change over time: `x: Value = over_time(1, ge=0)`."""
    bounds = Bounds(ge, gt, le, lt)
    initial = default if default is None or default is ... else Value(default)
    info: Any = Field(initial, description=description, json_schema_extra=bounds)
    info.metadata.append(AfterValidator(bounds.check))
    return info


def bounds_of(info: FieldInfo) -> Bounds:
    """The range of a field, from `over_time` or from `Field(ge=...)` and similar."""
    if isinstance(info.json_schema_extra, Bounds):
        return info.json_schema_extra
    names = ("ge", "gt", "le", "lt")
    return Bounds(**{n: getattr(m, n) for m in info.metadata for n in names if hasattr(m, n)})


def _sample(steps: int, nodes: int) -> Iterable[int]:
    most = max(_BUDGET // nodes, 100)
    return (
        range(steps)
        if steps <= most
        else sorted({round(i * (steps - 1) / (most - 1)) for i in range(most)})
    )


def _body(raw: Any) -> float | Keyframes | str:
    if isinstance(raw, Value):
        return raw.body
    if isinstance(raw, str):
        expressions.parse(str(raw).strip())
        return str(raw).strip()
    if isinstance(raw, Mapping):
        return keyframes.read(raw)
    return keyframes.number(raw)
