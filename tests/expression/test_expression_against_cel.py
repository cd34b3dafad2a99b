"""Emitted Python computes what cel-python's evaluator computes, and fails where that fails."""

import functools
import itertools
import math
import operator
import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from typing import Any, cast

import celpy
import pytest
from cel_expressions import INPUTS, Expression, expressions
from celpy import celtypes
from celpy.evaluation import CELEvalError
from expression_lab import Lab
from hypothesis import HealthCheck, given, settings
from thorough import FUZZ_ROUNDS

from sagagen.runtime.rpc.errors import ExpressionError

FAILED = "failed"
REFUSED = "refused"
LAZY = ("&&", "||", "?", "(n,", "(w,")

_TYPES: dict[str, Any] = {
    "big": celtypes.IntType,
    "small": celtypes.IntType,
    "count": celtypes.UintType,
    "real": celtypes.DoubleType,
    "text": celtypes.StringType,
    "from": celtypes.StringType,
    "raw": celtypes.BytesType,
    "flag": celtypes.BoolType,
    "done": celtypes.BoolType,
    "numbers": celtypes.IntType,
    "small_numbers": celtypes.IntType,
    "words": celtypes.StringType,
    "reals": celtypes.DoubleType,
    "totals": celtypes.IntType,
}


def as_cel(name: str, value: Any) -> Any:
    wrap: Callable[[Any], Any] = _TYPES[name]
    match value:
        case list():
            return celtypes.ListType([wrap(item) for item in cast(list[Any], value)])
        case dict():
            members = cast(dict[str, Any], value)
            return celtypes.MapType({celtypes.StringType(key): wrap(item) for key, item in members.items()})
        case _:
            return wrap(value)


def summed(zero: Any) -> Callable[[Any], Any]:
    """`0 + first + second + ...`, in cel-python's arithmetic."""
    return lambda numbers: functools.reduce(operator.add, numbers, zero)


def extreme(pick: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def picked(numbers: Any) -> Any:
        if not numbers or any(n != n for n in numbers):
            return CELEvalError("no least and no greatest")
        return pick(numbers)

    return picked


FUNCTIONS: dict[str, Any] = {
    "sum": summed(celtypes.IntType(0)),
    "sum_of_doubles": summed(celtypes.DoubleType(0.0)),
    "min": extreme(min),
    "max": extreme(max),
}
"""Ours, which CEL lacks, told in its own operations. An empty list does not tell it the type of its elements."""


class Oracle:
    """An expression, evaluated by cel-python."""

    def __init__(self, text: str) -> None:
        text = text.replace("sum(input.reals)", "sum_of_doubles(input.reals)")
        with kept_recursion_limit():
            environment: Any = celpy.Environment()
            self._program = environment.program(environment.compile(text), functions=FUNCTIONS)

    def value(self, input: dict[str, Any], earlier: dict[str, Any] | None = None) -> Any:
        return self.value_with(input, {"earlier": earlier or {}})

    def value_with(self, input: dict[str, Any], responses: dict[str, dict[str, Any]]) -> Any:
        steps = celtypes.MapType(
            {celtypes.StringType(step): as_message(response) for step, response in responses.items()}
        )
        try:
            with kept_recursion_limit():
                return as_python(self._program.evaluate({"input": as_message(input), "steps": steps}))
        except (CELEvalError, OverflowError):
            return FAILED  # OverflowError: cel-python 0.5 lets that of int() of an infinity through as it is


@contextmanager
def kept_recursion_limit() -> Generator[None]:
    """The evaluator raises it, for good."""
    limit = sys.getrecursionlimit()
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def as_message(values: dict[str, Any]) -> Any:
    return celtypes.MapType(
        {celtypes.StringType(name): as_cel(name, value) for name, value in values.items()}
    )


def as_python(value: Any) -> Any:
    if isinstance(value, CELEvalError):
        return FAILED
    if isinstance(value, list):
        return [as_python(item) for item in cast(list[Any], value)]
    if isinstance(value, bool | celtypes.BoolType):
        return bool(value)
    # Some of its operators forget CEL's types and give Python's.
    plain: Any = next(kind for kind in (int, float, str, bytes) if isinstance(value, kind))
    return plain(value)


class Emitted:
    """The same expression as Python; None for its builder if it was refused because it never fits."""

    def __init__(self, lab: Lab, expression: Expression) -> None:
        self._lab = lab
        self._target = expression.target
        yaml = f'{expression.target}: "{yaml_escaped(expression.text)}"'
        expr, found = lab.compile(yaml)
        assert expr is not None or {finding.code for finding in found} == {"SG114"}, (expression.text, found)
        self._build = lab.builder(yaml) if expr is not None else None

    def value(self, input: dict[str, Any], earlier: dict[str, Any] | None = None) -> Any:
        if self._build is None:
            return REFUSED
        try:
            return getattr(self._build(self._message(input), self._message(earlier or {})), self._target)
        except ExpressionError:
            return FAILED

    def _message(self, values: dict[str, Any]) -> Any:
        attributes = {"from_" if name == "from" else name: value for name, value in values.items()}
        return self._lab.python_class("Everything")(**attributes)


def yaml_escaped(text: str) -> str:
    return "".join(f"\\u{ord(c):04x}" if ord(c) < 32 else f"\\{c}" if c in '\\"' else c for c in text)


def agree(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float) and math.isnan(left):
        return math.isnan(right)
    return type(left) is type(right) and left == right


@pytest.mark.slow
@settings(
    max_examples=120 * FUZZ_ROUNDS, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
@given(expression=expressions(), values=INPUTS)
def test_every_expression_means_what_cel_says(
    lab: Lab, expression: Expression, values: dict[str, Any]
) -> None:
    expected = Oracle(expression.text).value(values)
    actual = Emitted(lab, expression).value(values)
    if actual == REFUSED:
        # A part of it never fits. Then CEL fails too, unless nothing asks for that part.
        assert expected == FAILED or any(lazy in expression.text for lazy in LAZY), expression.text
        return
    assert agree(actual, expected), f"{expression.text} is {actual!r}, and in CEL {expected!r}"


EDGES: dict[str, list[Any]] = {
    "big": [0, 1, -1, 2, -2, 7, -7, 2**31, 2**62, -(2**62), 2**63 - 1, -(2**63), 1 - 2**63],
    "small": [0, 1, -1, 7, -7, 2**31 - 1, -(2**31)],
    "count": [0, 1, 2, 3, 7, 2**32, 2**63 - 1, 2**63, 2**64 - 2, 2**64 - 1],
    "real": [0.0, -0.0, 1.0, -1.5, 3.7, 1e308, -1e308, 5e-324, math.inf, -math.inf, math.nan],
    "text": ["", "a", "ab", "b", "Z", "é", "e\u0301", "😀", "\uffff"],
    "raw": [b"", b"a", b"\x00", b"\xff", b"\xff\x00"],
    "flag": [False, True],
}
ARITHMETIC = {"big": "+-*/%", "small": "+-*/%", "count": "+-*/%", "real": "+-*/", "text": "+", "raw": "+"}
RESULTS = {"small": "big"}
"""Where the result of an operator goes, if not into the operands' own field: an int32 plus an int32 is an int."""


def pairs(operators: Callable[[str], Iterable[str]]) -> list[tuple[str, str]]:
    return [(field, operator) for field in EDGES for operator in operators(field)]


@pytest.mark.parametrize(("field", "operator"), pairs(lambda field: ARITHMETIC.get(field, "")))
def test_arithmetic_agrees_on_every_pair_of_edges(lab: Lab, field: str, operator: str) -> None:
    text = f"input.{field} {operator} steps.earlier.{field}"
    assert_agreement(lab, Expression(text, RESULTS.get(field, field)), field)


COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")


@pytest.mark.parametrize(
    ("field", "operator"),
    pairs(lambda field: (*COMPARISONS, "&&", "||") if field == "flag" else COMPARISONS),
)
def test_comparisons_agree_on_every_pair_of_edges(lab: Lab, field: str, operator: str) -> None:
    assert_agreement(lab, Expression(f"input.{field} {operator} steps.earlier.{field}", "flag"), field)


def assert_agreement(lab: Lab, expression: Expression, field: str) -> None:
    oracle, emitted = Oracle(expression.text), Emitted(lab, expression)
    for left, right in itertools.product(EDGES[field], EDGES[field]):
        if field == "real" and "/" in expression.text and right == 0.0:
            continue  # cel-python 0.5 (DoubleType.__truediv__): anything by zero is inf, 0.0 / 0.0 and -1.0 / 0.0 too
        expected = oracle.value({field: left}, {field: right})
        actual = emitted.value({field: left}, {field: right})
        assert agree(actual, expected), (
            f"{expression.text} with {left!r} and {right!r}: {actual!r}, not {expected!r}"
        )


TRUTHS = [1, -1, 0]
"""`1 / n > 0` is true, false, and an error."""
FIRST, SECOND, THIRD = (f"1 / input.numbers[{n}] > 0" for n in range(3))
PAIRS = list(itertools.product(("&&", "||"), repeat=2))
LOGIC = [
    *(f"({FIRST} {first} {SECOND}) {second} {THIRD}" for first, second in PAIRS),
    *(f"{FIRST} {first} ({SECOND} {second} {THIRD})" for first, second in PAIRS),
    *(f"{FIRST} ? {SECOND} : {THIRD}", f"!({FIRST}) || !({SECOND} && {THIRD})"),
]
MACROS = [
    "input.numbers.exists(n, 1 / n > 0)",
    "input.numbers.all(n, 1 / n > 0)",
    "input.numbers.exists_one(n, 1 / n > 0)",
    "size(input.numbers.filter(n, 1 / n > 0)) > 1",
    "input.numbers.map(n, 1 / n)[0] > 0",
    "input.numbers.exists(n, n > 0)",
    "input.numbers.all(n, n > 0)",
    # Within each other
    "input.numbers.exists(n, input.numbers.all(m, m <= n))",
    "input.numbers.all(n, input.numbers.exists(m, 1 / m > n))",
    "input.numbers.exists(n, input.numbers.exists(m, 1 / n > m))",
    "sum(input.numbers.filter(n, input.numbers.all(m, m <= n)).map(n, n * 2)) > 1",
    "min(input.numbers.map(n, sum(input.numbers.map(m, m * n)))) < 1",
]


@pytest.mark.parametrize("text", LOGIC)
def test_errors_are_absorbed_as_in_cel(lab: Lab, text: str) -> None:
    oracle, emitted = Oracle(text), Emitted(lab, Expression(text, "flag"))
    for numbers in itertools.product(TRUTHS, repeat=3):
        values = {"numbers": list(numbers)}
        assert agree(emitted.value(values), oracle.value(values)), (text, numbers)


FOLDS = [("numbers", "big"), ("small_numbers", "big"), ("reals", "real")]


@pytest.mark.parametrize("name", ["sum", "min", "max"])
@pytest.mark.parametrize(("field", "target"), FOLDS)
def test_folds_agree_on_every_short_list_of_edges(lab: Lab, name: str, field: str, target: str) -> None:
    text = f"{name}(input.{field})"
    oracle, emitted = Oracle(text), Emitted(lab, Expression(text, target))
    edges = EDGES[{"numbers": "big", "small_numbers": "small", "reals": "real"}[field]]
    for length in range(4):
        for numbers in itertools.product(edges[-7:], repeat=length):
            values = {field: list(numbers)}
            actual, expected = emitted.value(values), oracle.value(values)
            assert agree(actual, expected), f"{text} of {numbers}: {actual!r}, not {expected!r}"


def test_a_sum_is_what_plus_gives_also_where_only_a_part_overflows(lab: Lab) -> None:
    added = Oracle("0 + input.numbers[0] + input.numbers[1] + input.numbers[2]")
    emitted = Emitted(lab, Expression("sum(input.numbers)", "big"))
    for numbers in itertools.product(EDGES["big"], repeat=3):
        values = {"numbers": list(numbers)}
        assert agree(emitted.value(values), added.value(values)), numbers
    assert emitted.value({"numbers": [2**63 - 1, 1, -1]}) == FAILED


@pytest.mark.parametrize("text", MACROS)
def test_macros_agree_on_every_short_list(lab: Lab, text: str) -> None:
    oracle, emitted = Oracle(text), Emitted(lab, Expression(text, "flag"))
    for length in range(4):
        for numbers in itertools.product(TRUTHS, repeat=length):
            values = {"numbers": list(numbers)}
            actual, expected = emitted.value(values), oracle.value(values)
            assert agree(actual, expected), f"{text} of {numbers}: {actual!r}, not {expected!r}"


CONVERSIONS = [
    ("int(input.count)", "big", "count"),
    ("int(input.real)", "big", "real"),
    ("uint(input.big)", "count", "big"),
    ("uint(input.real)", "count", "real"),
    ("double(input.big)", "real", "big"),
    ("double(input.count)", "real", "count"),
    ("string(input.big)", "text", "big"),
    ("string(input.count)", "text", "count"),
    ("bytes(input.text)", "raw", "text"),
    ("string(input.raw)", "text", "raw"),
    ("size(input.text)", "big", "text"),
    ("size(input.raw)", "big", "raw"),
    ("-input.big", "big", "big"),
    ("-input.real", "real", "real"),
    ("!input.flag", "flag", "flag"),
]


@pytest.mark.parametrize(("text", "target", "field"), CONVERSIONS)
def test_conversions_agree_at_every_edge(lab: Lab, text: str, target: str, field: str) -> None:
    oracle, emitted = Oracle(text), Emitted(lab, Expression(text, target))
    for value in EDGES[field]:
        expected, actual = oracle.value({field: value}), emitted.value({field: value})
        assert agree(actual, expected), f"{text} of {value!r}: {actual!r}, not {expected!r}"
