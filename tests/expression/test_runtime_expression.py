"""The helpers that emitted code calls, at their limits."""

import math
from datetime import UTC, datetime, timedelta

import pytest

from sagagen.expression.locals import HELPERS
from sagagen.runtime import expression
from sagagen.runtime.expression import (
    EPOCH,
    bytes_to_string,
    divide,
    double_sum,
    double_to_int,
    double_to_string,
    double_to_uint,
    float32,
    greatest_of,
    int32,
    int64,
    int64_sum,
    least_of,
    milliseconds_of,
    quotient,
    remainder,
    string_to_double,
    string_to_int,
    string_to_uint,
    uint32,
    uint64,
    uint64_sum,
    unless_unset,
)
from sagagen.runtime.rpc.errors import ExpressionError


def test_the_names_that_emitted_code_imports_are_the_helpers_there_are() -> None:
    public = {name for name in vars(expression) if not name.startswith("_")}
    imported = {
        "Callable",
        "ExpressionError",
        "Iterable",
        "K",
        "N",
        "NoResponse",
        "Mapping",
        "Sequence",
        "T",
        "TypeVar",
        "UTC",
        "V",
    }
    assert public - imported - {"datetime", "math", "re", "suppress", "timedelta"} == HELPERS


@pytest.mark.parametrize(
    ("check", "low", "high"),
    [
        (int32, -(2**31), 2**31 - 1),
        (int64, -(2**63), 2**63 - 1),
        (uint32, 0, 2**32 - 1),
        (uint64, 0, 2**64 - 1),
    ],
)
def test_ranges_include_their_ends(check: object, low: int, high: int) -> None:
    assert callable(check)
    assert (check(low), check(0), check(high)) == (low, 0, high)
    for outside in (low - 1, high + 1):
        with pytest.raises(ExpressionError, match=f"{outside} does not fit"):
            check(outside)


def test_a_float_takes_what_does_not_overflow_it() -> None:
    largest = (2 - 2**-23) * 2.0**127
    assert float32(largest) == largest
    assert float32(math.nextafter(2.0**128 - 2.0**103, 0)) > largest
    for value in (2.0**128 - 2.0**103, 1e39, -1e300):
        with pytest.raises(ExpressionError, match="does not fit float"):
            float32(value)
    assert math.isnan(float32(math.nan))
    assert float32(-math.inf) == -math.inf


@pytest.mark.parametrize(
    ("dividend", "divisor", "whole", "rest"),
    [
        (7, 2, 3, 1),
        (-7, 2, -3, -1),
        (7, -2, -3, 1),
        (-7, -2, 3, -1),
        (0, 5, 0, 0),
        (2**63 - 1, -1, 1 - 2**63, 0),
    ],
)
def test_division_truncates_toward_zero(dividend: int, divisor: int, whole: int, rest: int) -> None:
    assert (quotient(dividend, divisor), remainder(dividend, divisor)) == (whole, rest)


def test_doubles_divide_as_ieee_754_says() -> None:
    assert divide(1.0, 0.0) == math.inf
    assert divide(1.0, -0.0) == -math.inf
    assert divide(-1.0, 0.0) == -math.inf
    assert divide(-math.inf, 0.0) == -math.inf
    assert math.isnan(divide(0.0, 0.0))
    assert math.isnan(divide(math.nan, 0.0))
    assert divide(1.0, 4.0) == 0.25


def test_doubles_become_integers_by_truncation() -> None:
    assert (double_to_int(1.99), double_to_int(-1.99), double_to_int(-(2.0**63))) == (1, -1, -(2**63))
    assert (double_to_uint(-0.9), double_to_uint(2.0**63)) == (0, 2**63)
    for value in (2.0**63, -math.inf, math.nan):
        with pytest.raises(ExpressionError):
            double_to_int(value)
    for value in (-1.0, 2.0**64, math.inf):
        with pytest.raises(ExpressionError):
            double_to_uint(value)


@pytest.mark.parametrize("text", ["", " 1", "1 ", "1_000", "1.0", "0x10", "--1", "١", "9" * 5000])
def test_text_that_is_no_integer_is_refused(text: str) -> None:
    for parse in (string_to_int, string_to_uint):
        with pytest.raises(ExpressionError):
            parse(text)


def test_text_is_read_as_numbers() -> None:
    assert (string_to_int("-007"), string_to_int("+7"), string_to_uint("18446744073709551615")) == (
        -7,
        7,
        2**64 - 1,
    )
    assert (string_to_double("1."), string_to_double("-.5e2"), string_to_double("Infinity")) == (
        1.0,
        -50.0,
        math.inf,
    )
    assert math.isnan(string_to_double("nan"))
    for text in ("", "1e", ".", "1_0", "0x1p3", " 1.0", "1f"):
        with pytest.raises(ExpressionError, match="is no double"):
            string_to_double(text)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"),
        (-0.0, "-0"),
        (0.1, "0.1"),
        (1e100, "1e+100"),
        (1e16, "1e+16"),
        (123456789.0, "123456789"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (math.nan, "NaN"),
    ],
)
def test_doubles_become_the_shortest_text_that_reads_back(value: float, text: str) -> None:
    assert double_to_string(value) == text
    assert repr(string_to_double(text)) == repr(value)


def test_bytes_become_text_if_they_are_utf_8() -> None:
    assert bytes_to_string("é😀".encode()) == "é😀"
    with pytest.raises(ExpressionError, match="no UTF-8"):
        bytes_to_string(b"\xed\xa0\x80")


def test_what_is_unset_is_not_checked() -> None:
    assert unless_unset(None, int32) is None
    assert unless_unset(0, int32) == 0
    with pytest.raises(ExpressionError):
        unless_unset(2**31, int32)


def test_sums_begin_at_zero_and_know_the_range_at_each_step() -> None:
    assert (int64_sum([]), uint64_sum([]), double_sum([])) == (0, 0, 0.0)
    assert int64_sum([2**63 - 1, -1, 1]) == 2**63 - 1
    with pytest.raises(ExpressionError, match="does not fit int64"):
        int64_sum([2**63 - 1, 1, -1])
    with pytest.raises(ExpressionError, match="does not fit uint64"):
        uint64_sum([2**64 - 1, 1])
    assert double_sum([0.1] * 10) == 0.1 + 0.1 + 0.1 + 0.1 + 0.1 + 0.1 + 0.1 + 0.1 + 0.1 + 0.1 != 1.0
    assert math.isnan(double_sum([math.inf, -math.inf]))


def test_extremes_of_none_and_of_nan_are_errors() -> None:
    assert (least_of([2, 1, 3]), greatest_of([2, 1, 3])) == (1, 3)
    assert math.copysign(1.0, least_of([-0.0, 0.0])) == -1.0, "of equal ones the first"
    for extreme, name in ((least_of, "min"), (greatest_of, "max")):
        with pytest.raises(ExpressionError, match=rf"{name}\(\) of an empty list"):
            extreme([])
        with pytest.raises(ExpressionError, match="NaN"):
            extreme([1.0, math.nan])


def test_milliseconds_are_exact_and_round_up() -> None:
    assert milliseconds_of(EPOCH) == 0
    assert milliseconds_of(datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)) == 253_402_300_799_999
    assert milliseconds_of(EPOCH + timedelta(microseconds=1)) == 1
    assert milliseconds_of(EPOCH - timedelta(microseconds=1)) == 0
    assert milliseconds_of(EPOCH - timedelta(milliseconds=1)) == -1
