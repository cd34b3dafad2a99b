"""Times with more than Python's `datetime` and `timedelta` can hold, so that what is copied keeps every bit.

A Timestamp and a Duration count nanoseconds, Python microseconds. What a field holds beyond that is kept beside the
value: a handler sees the time cut to microseconds, and whoever passes the value on passes all of it on. Whatever is
computed from it (`time + delta`, `time.replace(...)`) is a time of Python's own.
"""

import datetime
from typing import Any, Self

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_DAY_S = 24 * 60 * 60


class ExactDatetime(datetime.datetime):
    """A Timestamp with nanoseconds that no `datetime` has."""

    __slots__ = ("_parts",)
    _parts: tuple[int, int]
    """Seconds and nanos as they were encoded; not set in what is computed from such a time."""

    @classmethod
    def of(cls, seconds: int, nanos: int) -> Self:
        """Raises OverflowError or ValueError outside of the years 1 to 9999."""
        near = _EPOCH + datetime.timedelta(seconds=seconds, microseconds=nanos // 1000)
        exact = cls.combine(near.date(), near.timetz())
        exact._parts = seconds, nanos
        return exact

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __conform__(self, protocol: object) -> str:
        """For sqlite3, which knows no subclass: what it writes for a `datetime`."""
        return self.isoformat(" ")


class ExactTimedelta(datetime.timedelta):
    """A Duration with nanoseconds that no `timedelta` has, or whose parts have different signs."""

    __slots__ = ("_parts",)
    _parts: tuple[int, int]

    @classmethod
    def of(cls, seconds: int, nanos: int) -> Self:
        """Raises OverflowError beyond 999,999,999 days."""
        exact = cls(seconds=seconds, microseconds=int(nanos / 1000))
        exact._parts = seconds, nanos
        return exact

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self


def timestamp(seconds: int, nanos: int) -> datetime.datetime:
    """The time of a Timestamp."""
    if nanos < 0 or nanos % 1000:
        return ExactDatetime.of(seconds, nanos)
    return _EPOCH + datetime.timedelta(seconds=seconds, microseconds=nanos // 1000)


def timestamp_parts(value: object) -> tuple[int, int]:
    """Seconds and nanos of a time. Raises TypeError or ValueError for what is none, or has no zone."""
    if not isinstance(value, datetime.datetime):
        raise TypeError(f"datetime expected, got {type(value).__name__}")
    if value.__class__ is ExactDatetime and (parts := _kept(value)):
        return parts
    if value.tzinfo is None:
        raise ValueError("the datetime needs a time zone")
    since = value - _EPOCH
    return since.days * _DAY_S + since.seconds, since.microseconds * 1000


def duration(seconds: int, nanos: int) -> datetime.timedelta:
    """The length of a Duration."""
    if nanos % 1000 or seconds * nanos < 0:
        return ExactTimedelta.of(seconds, nanos)
    return datetime.timedelta(seconds=seconds, microseconds=nanos // 1000)


def duration_parts(value: object) -> tuple[int, int]:
    """Seconds and nanos of a length, of the same sign, as google.protobuf.Duration demands. Raises TypeError."""
    if not isinstance(value, datetime.timedelta):
        raise TypeError(f"timedelta expected, got {type(value).__name__}")
    if value.__class__ is ExactTimedelta and (parts := _kept(value)):
        return parts
    seconds, microseconds = divmod(abs(value) // datetime.timedelta(microseconds=1), 1_000_000)
    sign = -1 if value.days < 0 else 1
    return sign * seconds, sign * microseconds * 1000


def _kept(value: Any) -> tuple[int, int] | None:
    return getattr(value, "_parts", None)
