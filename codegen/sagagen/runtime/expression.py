"""What the request builders of generated code call: arithmetic, conversions and lookups as CEL defines them.

Where Python computes the same, generated code says it in plain Python. These are the rest: int64 and uint64 have a
range, division truncates toward zero, doubles divide by zero, and whatever can't be computed is an ExpressionError.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from sagagen.runtime.rpc.errors import ExpressionError
from sagagen.runtime.scope import NoResponse

T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")
N = TypeVar("N", int, float)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""What an unset google.protobuf.Timestamp reads as."""

_INT = re.compile(r"[+-]?[0-9]+")
_UINT = re.compile(r"[0-9]+")
_DOUBLE = re.compile(
    r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|inf(?:inity)?|nan)", re.IGNORECASE
)
_FLOAT_LIMIT = 2.0**128 - 2.0**103
"""From here on a double rounds to infinity as a 32-bit float: half a unit above the largest one."""


def int64(value: int) -> int:
    """`value`, if it fits. Raises ExpressionError."""
    return _within(value, -(2**63), 2**63 - 1, "int64")


def int32(value: int) -> int:
    """`value`, if it fits. Raises ExpressionError."""
    return _within(value, -(2**31), 2**31 - 1, "int32")


def uint64(value: int) -> int:
    """`value`, if it fits. Raises ExpressionError."""
    return _within(value, 0, 2**64 - 1, "uint64")


def uint32(value: int) -> int:
    """`value`, if it fits. Raises ExpressionError."""
    return _within(value, 0, 2**32 - 1, "uint32")


def float32(value: float) -> float:
    """`value`, if it does not overflow as a 32-bit float; infinity and NaN do not. Raises ExpressionError."""
    if math.isfinite(value) and abs(value) >= _FLOAT_LIMIT:
        raise ExpressionError(f"{value!r} does not fit float")
    return value


def quotient(dividend: int, divisor: int) -> int:
    """Integer division that truncates toward zero: -7 / 2 is -3. Raises ExpressionError for a divisor of zero."""
    if divisor == 0:
        raise ExpressionError("division by zero")
    magnitude = abs(dividend) // abs(divisor)
    return magnitude if (dividend < 0) == (divisor < 0) else -magnitude


def remainder(dividend: int, divisor: int) -> int:
    """What `quotient` leaves; it has the dividend's sign: -7 % 2 is -1. Raises as `quotient` does."""
    if divisor == 0:
        raise ExpressionError("modulus by zero")
    magnitude = abs(dividend) % abs(divisor)
    return -magnitude if dividend < 0 else magnitude


def divide(dividend: float, divisor: float) -> float:
    """IEEE 754 division: by zero it gives an infinity, or NaN."""
    if divisor != 0.0:
        return dividend / divisor
    if dividend == 0.0 or math.isnan(dividend):
        return math.nan
    return math.copysign(math.inf, math.copysign(1.0, dividend) * math.copysign(1.0, divisor))


def int64_sum(numbers: Iterable[int]) -> int:
    """0, and each number added to it in turn. Raises ExpressionError as soon as a sum does not fit, as `+` does."""
    total = 0
    for number in numbers:
        total = int64(total + number)
    return total


def uint64_sum(numbers: Iterable[int]) -> int:
    """The same for uint64."""
    return uint64(sum(numbers))


def double_sum(numbers: Iterable[float]) -> float:
    """0.0, and each number added to it in turn; whatever the Python, which from 3.12 on corrects its own `sum`."""
    total = 0.0
    for number in numbers:
        total += number
    return total


def least_of(numbers: Sequence[N]) -> N:
    """The least number, of equal ones the first. Raises ExpressionError if there is none, or one is NaN."""
    return min(_in_order(numbers, "min"))


def greatest_of(numbers: Sequence[N]) -> N:
    """The greatest number, of equal ones the first. Raises as `least_of` does."""
    return max(_in_order(numbers, "max"))


def double_to_int(value: float) -> int:
    """Truncates toward zero. Raises ExpressionError if the result does not fit int64, or is none."""
    return int64(_truncated(value))


def double_to_uint(value: float) -> int:
    """Truncates toward zero. Raises ExpressionError if the result does not fit uint64, or is none."""
    return uint64(_truncated(value))


def string_to_int(text: str) -> int:
    """Decimal digits with an optional sign, and nothing else. Raises ExpressionError."""
    return int64(int(_matching(_INT, text, "int")))


def string_to_uint(text: str) -> int:
    """Decimal digits, and nothing else. Raises ExpressionError."""
    return uint64(int(_matching(_UINT, text, "uint")))


def string_to_double(text: str) -> float:
    """A decimal number, `inf`, `Infinity` or `NaN`, in any case. Raises ExpressionError."""
    return float(_matching(_DOUBLE, text, "double"))


def double_to_string(value: float) -> str:
    """The shortest text that reads back as the same double: `1`, `0.1`, `1e+100`, `Infinity`, `NaN`."""
    if math.isfinite(value):
        return repr(value).removesuffix(".0")
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def bytes_to_string(value: bytes) -> str:
    """Reads UTF-8. Raises ExpressionError for bytes that are none."""
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise ExpressionError("the bytes are no UTF-8") from error


def milliseconds_of(time: datetime) -> int:
    """Milliseconds since the epoch, rounded up, so that nothing begins too early."""
    return -((EPOCH - time) // timedelta(milliseconds=1))


def item_at(items: Sequence[T], position: int) -> T:
    """Raises ExpressionError for a position outside of the list; CEL does not count from the end."""
    if 0 <= position < len(items):
        return items[position]
    raise ExpressionError(f"no element at {position}: the list has {len(items)}")


def value_at(entries: Mapping[K, V], key: K) -> V:
    """Raises ExpressionError if the map lacks the key."""
    if key in entries:
        return entries[key]
    raise ExpressionError(f"the map has no key {key!r}")


def either(first: Callable[[], bool], second: Callable[[], bool]) -> bool:
    """`first || second`: true if one of them is, even where the other fails. Raises ExpressionError otherwise."""
    try:
        if first():
            return True
    except ExpressionError:
        # What `first` would have said of a step that may be missing, nobody knows; `second` may read it.
        with suppress(NoResponse):
            if second():
                return True
        raise
    return second()


def both(first: Callable[[], bool], second: Callable[[], bool]) -> bool:
    """`first && second`: false if one of them is, even where the other fails. Raises ExpressionError otherwise."""
    return not either(lambda: not first(), lambda: not second())


def some(items: Iterable[T], predicate: Callable[[T], bool]) -> bool:
    """`items.exists(x, ...)`: true if it holds for one, even where it fails for others. Raises ExpressionError."""
    failure: ExpressionError | None = None
    for item in items:
        try:
            if predicate(item):
                return True
        except ExpressionError as error:
            failure = failure or error
    if failure:
        raise failure
    return False


def every(items: Iterable[T], predicate: Callable[[T], bool]) -> bool:
    """`items.all(x, ...)`: false if it does not hold for one, even where it fails for others. Raises as `some`."""
    return not some(items, lambda item: not predicate(item))


def unless_unset(value: T | None, check: Callable[[T], T]) -> T | None:
    """`check(value)`, or None where the field that it comes from is unset."""
    return None if value is None else check(value)


def or_if_unset(value: T | None, default: T) -> T:
    """`value`, or `default` where the field that it comes from is unset; 0 and empty are set."""
    return default if value is None else value


def _in_order(numbers: Sequence[N], function: str) -> Sequence[N]:
    if not numbers:
        raise ExpressionError(f"{function}() of an empty list")
    if any(number != number for number in numbers):
        raise ExpressionError(f"{function}() of NaN, which has no order")
    return numbers


def _within(value: int, low: int, high: int, name: str) -> int:
    if low <= value <= high:
        return value
    raise ExpressionError(f"{value} does not fit {name}")


def _truncated(value: float) -> int:
    if math.isfinite(value):
        return math.trunc(value)
    raise ExpressionError(f"{double_to_string(value)} is no integer")


def _matching(pattern: re.Pattern[str], text: str, name: str) -> str:
    # Python's int() refuses thousands of digits with another error; no number of 64 bits, and no double, needs them.
    if len(text) <= 400 and pattern.fullmatch(text):
        return text
    raise ExpressionError(f"{text[:40]!r} is no {name}")
