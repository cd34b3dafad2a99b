"""Time as an argument: production reads the machine's clocks, tests choose."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def wall_ms(self) -> int:
        """Milliseconds since the Unix epoch; may jump."""
        ...

    def monotonic_s(self) -> float:
        """Seconds from an arbitrary start; never goes back. Within a process, durations are measured with this one."""
        ...


class SystemClock:
    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    monotonic_s = staticmethod(time.monotonic)


class Grace:
    """The time that a process has between being told to stop and its end. Every wait of a stop takes what is left."""

    def __init__(self, seconds: float, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self.seconds = seconds
        self._now_s = monotonic_s
        self._ends_s: float | None = None

    def begin(self) -> bool:
        """It runs from now on. False if it runs already."""
        is_first = self._ends_s is None
        if is_first:
            self._ends_s = self._now_s() + self.seconds
        return is_first

    def left_s(self, keep_s: float = 0.0) -> float:
        """How long one may wait so that `keep_s` seconds are left for others. Begins it, where nobody has."""
        self.begin()
        assert self._ends_s is not None
        return max(0.0, self._ends_s - self._now_s() - keep_s)


def rfc3339_or_none(at_ms: int | None) -> str | None:
    return None if at_ms is None else rfc3339(at_ms)


def rfc3339(at_ms: int) -> str:
    """Milliseconds since the epoch as `2026-01-31T12:00:00.000Z`."""
    text = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def age_of(text: str) -> float:
    """Seconds since a time as `rfc3339` writes it."""
    return max(0.0, time.time() - datetime.fromisoformat(text).timestamp())


async def sleep_unless_woken(seconds: float, wake: asyncio.Event) -> None:
    """Return after `seconds`, or as soon as `wake` is set."""
    if seconds <= 0 or wake.is_set():
        return
    try:
        async with asyncio.timeout(seconds):
            await wake.wait()
    except TimeoutError:
        pass
