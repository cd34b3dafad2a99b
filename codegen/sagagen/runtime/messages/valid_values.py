"""Whether a message's Durations, Timestamps and Values are any: their own proto files forbid some of what fits in them.

Nothing on the wire refuses them, and no JSON can be written of them: a Duration beyond ten thousand years or with parts
of two signs, a Timestamp before the year 1, a Value that is NaN or infinite. Told to the service that makes such a
message, its handler's author learns of it; told to whoever reads the message, nobody would.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from sagagen.runtime.messages.fields import entry_fields, is_map

_MAX_DURATION_S = 315_576_000_000
_MIN_TIMESTAMP_S, _MAX_TIMESTAMP_S = -62_135_596_800, 253_402_300_799
_NANOS = 1_000_000_000


def may_be_invalid(message: Descriptor) -> bool:
    """Whether a handler can give a message of this type such a value, however deep.

    A Timestamp does not count: it is made of a `datetime`, which is always one, and nearly every message has some.
    """
    seen: set[str] = set()
    pending = [message]
    while pending:
        descriptor = pending.pop()
        if descriptor.full_name in _MADE_INVALID:
            return True
        if descriptor.full_name not in seen:
            seen.add(descriptor.full_name)
            pending += [field.message_type for field in descriptor.fields if field.message_type]
    return False


def invalid_value(message: Message, path: str = "") -> str:
    """The first value of a message that is none, with its path; empty if there is none."""
    check = _CHECKS.get(message.DESCRIPTOR.full_name)
    if check:
        wrong = check(message)
        if wrong:
            return f"{path or 'the message'} {wrong}"
    for field, value in message.ListFields():
        if not field.message_type:
            continue
        where = f"{path}.{field.name}" if path else field.name
        if not field.is_repeated:
            found = invalid_value(value, where)
        elif is_map(field):
            found = _of_entries(value, where) if entry_fields(field)[1].message_type else ""
        else:
            found = next(
                filter(None, (invalid_value(each, f"{where}[{n}]") for n, each in enumerate(value))), ""
            )
        if found:
            return found
    return ""


def _of_entries(entries: Mapping[Any, Message], where: str) -> str:
    return next(filter(None, (invalid_value(entries[key], f"{where}[{key!r}]") for key in entries)), "")


def _duration(message: Any) -> str:
    is_small = abs(message.seconds) <= _MAX_DURATION_S and abs(message.nanos) < _NANOS
    if is_small and message.seconds * message.nanos >= 0:
        return ""
    return "is no google.protobuf.Duration: it holds ten thousand years at most, in parts of one sign"


def _timestamp(message: Any) -> str:
    is_one = _MIN_TIMESTAMP_S <= message.seconds <= _MAX_TIMESTAMP_S and 0 <= message.nanos < _NANOS
    return "" if is_one else "is no google.protobuf.Timestamp: it holds the years 1 to 9999"


def _value(message: Any) -> str:
    is_number = message.WhichOneof("kind") == "number_value"
    if not is_number or math.isfinite(message.number_value):
        return ""
    return "is no google.protobuf.Value: NaN and infinities are no JSON numbers"


_MADE_INVALID = frozenset({"google.protobuf.Duration", "google.protobuf.Value"})
_CHECKS: Mapping[str, Callable[[Any], str]] = {
    "google.protobuf.Duration": _duration,
    "google.protobuf.Timestamp": _timestamp,
    "google.protobuf.Value": _value,
}
