"""A value of SQLite as a column of PostgreSQL takes it."""

import json
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

_BITS = {"smallint": 15, "integer": 31, "bigint": 63}


def fitting(kind: str, value: Any) -> Any:
    """`kind` is the column's type as information_schema has it. Raises ValueError that says why it does not fit."""
    if value is None:
        return None
    convert = _CONVERT.get(kind)
    if convert is None:
        raise ValueError(f"goes into a column of type {kind}, which is not known here: make it text, for now")
    return convert(value) if kind not in _BITS else _whole(value, _BITS[kind])


def _whole(value: Any, bits: int) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int):
        raise ValueError(f"is {_what(value)}, and the column takes whole numbers")
    if not -(2**bits) <= value < 2**bits:
        raise ValueError(f"is {value}, which is beyond the column's {bits + 1} bits")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"is {_what(value)}, and the column takes text")
    if "\0" in value:
        raise ValueError("holds the character NUL, which no text of PostgreSQL may hold")
    return value


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError(f"is {_what(value)}, and the column takes bytes")
    return value


def _double(value: Any) -> float:
    if not isinstance(value, int | float):
        raise ValueError(f"is {_what(value)}, and the column takes numbers")
    if isinstance(value, int) and int(float(value)) != value:
        raise ValueError(f"is {value}, which double precision does not keep exactly")
    return float(value)


def _numeric(value: Any) -> Decimal:
    if not isinstance(value, int | float):
        raise ValueError(f"is {_what(value)}, and the column takes numbers")
    return Decimal(repr(value))


def _boolean(value: Any) -> bool:
    if value not in (0, 1):
        raise ValueError(f"is {value!r}, and the column takes 0 and 1 as false and true")
    return bool(value)


def _moment(value: Any) -> datetime:
    """A text without a zone is UTC, as SQLite's own functions give it."""
    moment = _iso(datetime.fromisoformat, value)
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _local(value: Any) -> datetime:
    moment = _iso(datetime.fromisoformat, value)
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _iso(parse: Callable[[str], Any], value: Any) -> Any:
    try:
        return parse(_text(value))
    except ValueError as error:
        raise ValueError(f"is {_what(value)}, and the column takes a moment in ISO 8601") from error


def _json(value: Any) -> str:
    try:
        json.loads(_text(value))
    except ValueError as error:
        raise ValueError(f"is {_what(value)}, and the column takes JSON") from error
    return value


def _uuid(value: Any) -> uuid.UUID:
    try:
        return uuid.UUID(_text(value))
    except ValueError as error:
        raise ValueError(f"is {_what(value)}, and the column takes a UUID") from error


def _what(value: Any) -> str:
    """Without its contents, which may be a person's."""
    kinds = {"int": "a whole number", "float": "a number with a fraction", "str": "a text"}
    name = type(value).__name__
    return kinds.get(name, name)


_CONVERT: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(_BITS, int),
    "text": _text,
    "character varying": _text,
    "character": _text,
    "bytea": _bytes,
    "double precision": _double,
    "real": _double,
    "numeric": _numeric,
    "boolean": _boolean,
    "timestamp with time zone": _moment,
    "timestamp without time zone": _local,
    "date": lambda value: _iso(date.fromisoformat, value),
    "time without time zone": lambda value: _iso(time.fromisoformat, value),
    "json": _json,
    "jsonb": _json,
    "uuid": _uuid,
}
