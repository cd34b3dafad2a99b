"""A value as a column of SQLite holds it, by what its type is called (sqlite.org/datatype3.html)."""

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any


def fitting(kind: str, value: Any) -> Any:
    """`kind` is a column's type, in small letters. Raises ValueError."""
    match value:
        case None | str() | bytes() | float():
            return value
        case bool() | int():
            if not -(2**63) <= value < 2**63:
                raise ValueError("is beyond 64 bits")
            return int(value)
        case Decimal():
            return _number(kind, value)
        case datetime():
            moment = value if value.tzinfo is None else value.astimezone(UTC).replace(tzinfo=None)
            return moment.isoformat(" ")
        case date() | time():
            return value.isoformat()
        case _:
            if "text" in kind or "char" in kind or not kind or "json" in kind or "uuid" in kind:
                return str(value)
            raise ValueError(f"is a {type(value).__name__}, for which SQLite has no type")


def _number(kind: str, value: Decimal) -> Any:
    if "text" in kind or "char" in kind:
        return str(value)
    if value == value.to_integral_value() and abs(value) < 2**63:
        return int(value)
    if Decimal(repr(float(value))) != value:
        raise ValueError("has more digits than a number of SQLite keeps: make the column TEXT there")
    return float(value)
