"""Numbers as JSON writes them, and what a 32-bit float makes of them."""

import re

NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
MAX_NUMBER_LENGTH = 400
"""Longer than any number that a double or a 64-bit integer can need in practice; guards int()."""
FLOAT_MAX = 3.4028234663852886e38
ROUNDED_TO_LARGEST = 3.4028235677973362e38
"""The largest double that is this float once it is rounded; from the next one on it would be infinite."""


def number_of(value: object) -> int | float | None:
    """A JSON number, or one in a string."""
    if isinstance(value, str):
        is_one = len(value) <= MAX_NUMBER_LENGTH and NUMBER.fullmatch(value)
        return float(value) if is_one else None
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None
