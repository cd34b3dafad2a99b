"""Single values in JSON, as ProtoJSON reads them: what is wrong with one, and what it is once it is read."""

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from sagagen.runtime.edge.json.findings import Findings, Path, report, shown
from sagagen.runtime.edge.json.numbers import (
    FLOAT_MAX,
    MAX_NUMBER_LENGTH,
    NUMBER,
    ROUNDED_TO_LARGEST,
    number_of,
)

Check: TypeAlias = Callable[[object, Path, Findings], None]
"""Holds a JSON value against one shape; `path` says where the value stands."""
Convert: TypeAlias = Callable[[Any], Any]
"""From a JSON value that its check has found right to the value of its field."""

_SURROGATE = re.compile("[\ud800-\udfff]")
_NON_FINITE = frozenset({"NaN", "Infinity", "-Infinity"})
INTEGER_RANGES: Mapping[int, tuple[int, int]] = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}
_DIGITS = re.compile(r"0|-?[1-9][0-9]{0,19}")
"""A whole number as it is mostly spelled. Keys of maps know no other way: "1.0" beside "1" would be one key twice."""


def scalar(field: FieldDescriptor) -> Check:
    """For a field's single value that is neither a message nor an enum."""
    if field.cpp_type in INTEGER_RANGES:
        return _integer(*INTEGER_RANGES[field.cpp_type])
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return _bool
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _bytes
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return string
    return _float32 if field.cpp_type == FieldDescriptor.CPPTYPE_FLOAT else float64


def converter(field: FieldDescriptor) -> Convert:
    """For a field's single value that is no message."""
    if field.enum_type:
        return _enum_number(field.enum_type)
    if field.cpp_type in INTEGER_RANGES:
        return _whole
    if field.type == FieldDescriptor.TYPE_BYTES:
        return decode_base64
    if field.cpp_type == FieldDescriptor.CPPTYPE_FLOAT:
        return _float32_of
    return float if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE else _as_it_is


def enum_value(enum: EnumDescriptor) -> Check:
    """For a value of `enum`: its name or its number, and any number where the enum is open."""
    names, numbers = frozenset(enum.values_by_name), frozenset(enum.values_by_number)
    is_closed = enum.is_closed
    takes_null = enum.full_name == "google.protobuf.NullValue"

    def check_enum(value: object, path: Path, findings: Findings) -> None:
        if (isinstance(value, str) and value in names) or (value is None and takes_null):
            return
        is_number = isinstance(value, int) and _is_within(value, -(2**31), 2**31 - 1)
        if not is_number or (is_closed and value not in numbers):
            report(findings, path, f"must be a value of {enum.full_name}, not {shown(value)}")

    return check_enum


def _enum_number(enum: EnumDescriptor) -> Convert:
    numbers = {name: value.number for name, value in enum.values_by_name.items()}
    return lambda value: 0 if value is None else numbers[value] if isinstance(value, str) else int(value)


def map_key(field: FieldDescriptor) -> Callable[[str], str]:
    """What is wrong with a key of a map; empty if nothing is."""
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return lambda key: "is no text: it has half a surrogate pair" if _SURROGATE.search(key) else ""
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return lambda key: "" if key in ("true", "false") else 'must have "true" or "false" as its key'
    low, high = INTEGER_RANGES[field.cpp_type]
    return lambda key: (
        ""
        if _DIGITS.fullmatch(key) and low <= int(key) <= high
        else f"must have a whole number from {low} to {high} as its key, written with digits alone"
    )


def key_converter(field: FieldDescriptor) -> Callable[[str], Any]:
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return _as_it_is
    return "true".__eq__ if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL else int


def string(value: object, path: Path, findings: Findings) -> None:
    """For text: a JSON string that is Unicode."""
    if not isinstance(value, str):
        report(findings, path, f"must be a string, not {shown(value)}")
    elif not value.isascii() and _SURROGATE.search(value):
        report(findings, path, "is no text: it has half a surrogate pair")


def float64(value: object, path: Path, findings: Findings) -> None:
    """For a double: a number, or NaN and the infinities as strings."""
    _check_float(value, path, findings, 1.7976931348623157e308)


def _float32(value: object, path: Path, findings: Findings) -> None:
    _check_float(value, path, findings, ROUNDED_TO_LARGEST)


def _float32_of(value: Any) -> float:
    """The largest float where it is spelled 3.4028235e+38, which is beyond what the setter takes."""
    number = float(value)
    is_beyond = FLOAT_MAX < abs(number) <= ROUNDED_TO_LARGEST
    return math.copysign(FLOAT_MAX, number) if is_beyond else number


def _check_float(value: object, path: Path, findings: Findings, limit: float) -> None:
    if isinstance(value, str) and value in _NON_FINITE:
        return
    number = number_of(value)
    if number is None:
        report(findings, path, f"must be a number, not {shown(value)}")
    elif number != number:  # NaN; math.isnan() fails on integers beyond a double
        report(findings, path, "NaN is no JSON number")
    elif abs(number) > limit:
        report(findings, path, "is larger than the field can hold")


def _integer(low: int, high: int) -> Check:
    def check_integer(value: object, path: Path, findings: Findings) -> None:
        number = value if type(value) is int else _whole(value)
        if number is None:
            report(findings, path, f"must be a whole number, not {shown(value)}")
        elif not low <= number <= high:
            report(findings, path, f"must be from {low} to {high}, not {shown(value)}")

    return check_integer


def _is_within(value: object, low: int, high: int) -> bool:
    number = _whole(value)
    return number is not None and low <= number <= high


def _whole(value: object) -> int | None:
    """A JSON number, or one in a string, that is an integer. `5.0` and `5e2` are; `true`, `5.5` and `"5_0"` are not."""
    if isinstance(value, str):
        if _DIGITS.fullmatch(value):
            return int(value)
        if len(value) > MAX_NUMBER_LENGTH or not NUMBER.fullmatch(value):
            return None
        value = int(value) if value.lstrip("-").isdigit() else float(value)
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _bool(value: object, path: Path, findings: Findings) -> None:
    if not isinstance(value, bool):
        report(findings, path, f"must be true or false, not {shown(value)}")


def _bytes(value: object, path: Path, findings: Findings) -> None:
    if not isinstance(value, str) or decode_base64(value) is None:
        report(findings, path, f"must be a base64 string, not {shown(value)}")


def decode_base64(text: str) -> bytes | None:
    """Either alphabet, padded or not, as ProtoJSON reads it; None if it is no base64."""
    plain = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _as_it_is(value: Any) -> Any:
    return value
