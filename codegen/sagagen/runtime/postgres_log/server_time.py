"""The server's clock, as a gateway knows it: rows of one saga may be of several gateways, whose own clocks differ.

Each renewal of the lease tells what time it is at the server; between two of them this machine's monotonic clock counts
on. An answer was made at some moment between question and answer, so the time is as certain as the question was quick:
one that took longer than another of late is listened to only where it proves what is known wrong.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from sagagen.runtime.clock import Clock, SystemClock

GROWS = 1e-4
"""By how much a second makes what was told less certain, in seconds: clocks of machines run apart by less."""


class ServerTime:
    """Implements `Clock`. Before anything was told it is this machine's."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._base_ms: float | None = None
        self._base_s = 0.0
        self._uncertain_s = 0.0

    def monotonic_s(self) -> float:
        return self._clock.monotonic_s()

    def wall_ms(self) -> int:
        if self._base_ms is None:
            return self._clock.wall_ms()
        return int(self._base_ms + (self._clock.monotonic_s() - self._base_s) * 1000)

    @contextmanager
    def asking(self) -> Generator[Callable[[int], None]]:
        """Around a question; what is given is to be called with the server's time, in ms since the epoch."""
        asked_s, asked_ms = self._clock.monotonic_s(), self.wall_ms()

        def told(server_ms: int) -> None:
            heard_s, heard_ms = self._clock.monotonic_s(), self.wall_ms()
            uncertain_s = heard_s - asked_s
            is_certain = uncertain_s <= self._uncertain_s + (heard_s - self._base_s) * GROWS
            is_news = not asked_ms - 1 <= server_ms <= heard_ms + 1
            if self._base_ms is None or is_certain or is_news:
                self._base_ms, self._base_s = server_ms + uncertain_s * 500, heard_s
                self._uncertain_s = uncertain_s

        yield told
