"""Expressions such as `0.2 + 0.1 * sin(2 * pi * t)`: parsed, checked and evaluated safely."""

from __future__ import annotations

import ast
import math
import threading
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import simpleeval

from pixweave.errors import InvalidValue, UnknownName, did_you_mean

LONGEST = 500
CLOCK = ("t", "f", "p")
CONSTANTS = {"pi": math.pi}


def _clamp(x: float, low: float, high: float) -> float:
    return min(max(x, low), high)


def _smooth(x: float) -> float:
    x = _clamp(x, 0.0, 1.0)
    return x * x * (3 - 2 * x)


def _lerp(a: float, b: float, x: float) -> float:
    return a + (b - a) * x


# name: (function, fewest arguments, most arguments)
FUNCTIONS: dict[str, tuple[Callable[..., float], int, int]] = {
    "sin": (math.sin, 1, 1),
    "cos": (math.cos, 1, 1),
    "tan": (math.tan, 1, 1),
    "abs": (abs, 1, 1),
    "sqrt": (math.sqrt, 1, 1),
    "exp": (math.exp, 1, 1),
    "log": (math.log, 1, 2),
    "floor": (math.floor, 1, 1),
    "ceil": (math.ceil, 1, 1),
    "min": (min, 2, 9),
    "max": (max, 2, 9),
    "clamp": (_clamp, 3, 3),
    "lerp": (_lerp, 3, 3),
    "smooth": (_smooth, 1, 1),
}

# math.pow works on floats only, so powers cannot grow without bound
_OPERATORS: dict[type[ast.AST], Any] = {
    **{
        kind: simpleeval.DEFAULT_OPERATORS[kind]
        for kind in (
            ast.Add,
            ast.Sub,
            ast.Mult,
            ast.Div,
            ast.FloorDiv,
            ast.Mod,
            ast.USub,
            ast.UAdd,
            ast.Lt,
            ast.LtE,
            ast.Gt,
            ast.GtE,
            ast.Eq,
            ast.NotEq,
            ast.Not,
        )
    },
    ast.Pow: math.pow,
}
_SYNTAX = (
    ast.BinOp,
    ast.UnaryOp,
    ast.BoolOp,
    ast.Compare,
    ast.IfExp,
    ast.Call,
    ast.Name,
    ast.Constant,
    ast.Load,
    ast.And,
    ast.Or,
    *_OPERATORS,
)
_NUMBER = (
    r"(?:0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+"
    r"|(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)?)"
)
_NAME = r"(?!(?:and|or|not|if|else|True|False|None|in|is|lambda)\b)[A-Za-z_][A-Za-z0-9_]*"
_BEFORE = rf"(?:(?:(?:(?:{'|'.join(FUNCTIONS)})\s*)?\(|[-+]|not\b)\s*)*"
_AFTER = r"(?:\s*(?:,\s*)?\))*"
_BETWEEN = r"\s*(?:\*\*|//|<=|>=|==|!=|[-+*/%<>,]|and\b|or\b|if\b|else\b)\s*"
_OPERAND = rf"{_BEFORE}(?:{_NUMBER}|{_NAME}){_AFTER}"
PATTERN = rf"^\s*{_OPERAND}(?:{_BETWEEN}{_OPERAND})*\s*$"
"""A regular expression that every expression matches, and few other texts; for JSON Schema."""

_threads = threading.local()


@lru_cache(maxsize=1024)
def parse(text: str) -> tuple[ast.expr, frozenset[str], int]:
    """The syntax tree of an expression, the names it uses, and its number of nodes.

    Raises InvalidValue if it is not an expression of numbers.
    """
    if len(text) > LONGEST:
        raise InvalidValue(f"is an expression of {len(text)} characters", f"the limit is {LONGEST}")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise InvalidValue(
            f"is neither a number nor a valid expression: '{shorten(text)}'",
            "write one like '0.5 + 0.2 * sin(t)'",
        ) from None
    nodes = list(ast.walk(tree))
    for node in nodes:
        _refuse(node, text)
    called = {id(n.func) for n in nodes if isinstance(n, ast.Call)}
    names = {n.id for n in nodes if isinstance(n, ast.Name) and id(n) not in called}
    return tree, frozenset(names - set(CONSTANTS)), len(nodes)


def shorten(text: str) -> str:
    """The text, cut to 60 characters for messages."""
    return text if len(text) <= 60 else f"{text[:57]}..."


def _refuse(node: ast.AST, text: str) -> None:
    if isinstance(node, ast.BitXor):
        raise InvalidValue("uses the unknown operator '^'", "write a power as '**'")
    if isinstance(node, ast.Constant) and type(node.value) not in (int, float):
        raise InvalidValue(
            f"uses {node.value!r} in an expression", "only numbers and names can be used"
        )
    if isinstance(node, ast.Call):
        _refuse_call(node)
    if not isinstance(node, _SYNTAX):
        raise InvalidValue(
            f"is not an expression of numbers: '{shorten(text)}'",
            f"use + - * / // % **, comparisons, a if b else c, and {', '.join(sorted(FUNCTIONS))}",
        )


def _refuse_call(node: ast.Call) -> None:
    name = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
    if name not in FUNCTIONS:
        raise InvalidValue(f"calls the unknown function '{name}'", did_you_mean(name, FUNCTIONS))
    _, fewest, most = FUNCTIONS[name]
    if node.keywords or not fewest <= len(node.args) <= most:
        expected = str(fewest) if fewest == most else f"{fewest} to {most}"
        raise InvalidValue(
            f"calls '{name}' with {len(node.args) + len(node.keywords)} arguments",
            f"it takes {expected}",
        )


def evaluate(text: str, names: Mapping[str, float]) -> float:
    """The value of an expression; raises InvalidValue if it is undefined or not finite."""
    tree = parse(text)[0]
    evaluator = _evaluator()
    evaluator.names = {**CONSTANTS, **names}
    try:
        number = float(evaluator.eval(text, previously_parsed=tree))
    except simpleeval.NameNotDefined as error:
        raise UnknownName(
            f"uses the unknown name '{error.name}'",
            did_you_mean(error.name, [*CLOCK, *CONSTANTS, *names]),
        ) from None
    except ZeroDivisionError:
        raise InvalidValue("divides by zero", "add a small number to the divisor") from None
    except (ArithmeticError, ValueError, TypeError, RecursionError, simpleeval.InvalidExpression):
        raise InvalidValue(
            "has no value", "a number is too large, or it takes the root of a negative number"
        ) from None
    if not math.isfinite(number):
        raise InvalidValue(f"is not a finite number ({number})")
    return number


def _evaluator() -> simpleeval.SimpleEval:
    """The evaluator of this thread; making one takes longer than most expressions."""
    if not hasattr(_threads, "evaluator"):
        _threads.evaluator = simpleeval.SimpleEval(
            operators=_OPERATORS,
            functions={k: v[0] for k, v in FUNCTIONS.items()},
            names={},
            allowed_attrs={},
        )
    return _threads.evaluator
