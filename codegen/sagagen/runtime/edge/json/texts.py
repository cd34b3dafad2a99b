"""Well-known messages that are text in JSON: Timestamp, Duration and FieldMask, read as strictly as ProtoJSON says.

google.protobuf's own reader takes " 1s", "1_0s", "2020-1-1T0:0:0Z", an offset of 25 hours and digits of any script. The
rules are those of protobuf's conformance suite and of the comments in the messages' own proto files.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

MAX_DURATION_S = 315_576_000_000
"""Ten thousand years."""
_MIN_TIMESTAMP_S = -62_135_596_800
_MAX_TIMESTAMP_S = 253_402_300_799
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_DURATION = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,9}))?s")
_TIMESTAMP = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:Z|([+-])([01][0-9]|2[0-3]):([0-5][0-9]))"
)
_MASK_PATH = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:\.[A-Za-z][A-Za-z0-9]*)*")
_PROTO_PATH = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_CAPITAL = re.compile("[A-Z]")

Parse: TypeAlias = Callable[[str], "tuple[int, int] | Sequence[str] | None"]


def parse_duration(text: str) -> tuple[int, int] | None:
    """Seconds and nanoseconds, of one sign; None for what is no duration."""
    parts = _DURATION.fullmatch(text)
    if not parts:
        return None
    seconds, nanos = int(parts[2]), _nanos(parts[3])
    if seconds > MAX_DURATION_S:
        return None
    return (-seconds, -nanos) if parts[1] else (seconds, nanos)


def parse_timestamp(text: str) -> tuple[int, int] | None:
    """Seconds since 1970 and nanoseconds; None for what is no time of RFC 3339 between the years 1 and 9999."""
    parts = _TIMESTAMP.fullmatch(text)
    if not parts:
        return None
    try:
        since = datetime.fromisoformat(f"{parts[1]}+00:00") - _EPOCH
    except ValueError:
        return None
    seconds = since // timedelta(seconds=1)
    if parts[3]:
        offset_s = int(parts[4]) * 3600 + int(parts[5]) * 60
        seconds += -offset_s if parts[3] == "+" else offset_s
    return (seconds, _nanos(parts[2])) if _MIN_TIMESTAMP_S <= seconds <= _MAX_TIMESTAMP_S else None


def parse_mask(text: str) -> Sequence[str] | None:
    """The paths, in proto names; None for what is no list of lowerCamelCase paths."""
    if not text:
        return ()
    paths = text.split(",")
    if not all(map(_MASK_PATH.fullmatch, paths)):
        return None
    return [_CAPITAL.sub(lambda capital: f"_{capital[0].lower()}", path) for path in paths]


def parse_any_mask(text: str) -> Sequence[str] | None:
    """As `parse_mask`; paths may also be in proto names, as AIP-134 and grpc-gateway take them in a query."""
    if not text:
        return ()
    read = [parse_mask(path) or ([path] if _PROTO_PATH.fullmatch(path) else None) for path in text.split(",")]
    return None if None in read else [each for paths in read if paths for each in paths]


def _nanos(digits: str | None) -> int:
    return int(digits.ljust(9, "0")) if digits else 0


PARSERS: Mapping[str, Parse] = {
    "google.protobuf.Timestamp": parse_timestamp,
    "google.protobuf.Duration": parse_duration,
    "google.protobuf.FieldMask": parse_mask,
}
TEXTUAL = frozenset(PARSERS)
"""Well-known messages whose JSON is a string."""


def fill(message: Any, parsed: "tuple[int, int] | Sequence[str]") -> None:
    """Give a message what the parser of its type has read."""
    if isinstance(parsed, tuple) and len(parsed) == 2 and message.DESCRIPTOR.full_name in _TIMES:
        message.seconds, message.nanos = parsed
    else:
        message.paths.extend(parsed)


_TIMES = frozenset({"google.protobuf.Timestamp", "google.protobuf.Duration"})
