"""Numbers as JSON writes them, and what a 32-bit float makes of them."""

import math
import re
from typing import cast

NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
MAX_NUMBER_LENGTH = 400
"""Longer than any number that a double or a 64-bit integer can need in practice; guards int()."""
_FLOAT_MAX = 3.4028234663852886e38
ROUNDED_TO_LARGEST = 3.4028235677973362e38
"""The largest double that is this float once it is rounded; from the next one on it would be infinite."""


def number_of(value: object) -> int | float | None:
    """A JSON number, or one in a string."""
    if isinstance(value, str):
        is_one = len(value) <= MAX_NUMBER_LENGTH and NUMBER.fullmatch(value)
        return float(value) if is_one else None
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def rounded(value: object) -> object:
    """The largest float as a reader takes it that refuses 3.4028235e+38, which is how writers spell it."""
    if isinstance(value, list):
        return [rounded(item) for item in cast(list[object], value)]
    if isinstance(value, dict):
        return {name: rounded(item) for name, item in cast(dict[str, object], value).items()}
    number = number_of(value)
    is_beyond = number is not None and _FLOAT_MAX < abs(number) <= ROUNDED_TO_LARGEST
    return math.copysign(_FLOAT_MAX, number) if number is not None and is_beyond else value
