"""The engine's own time, for its log: it never goes back, neither within a process nor from one process to the next."""

import structlog

from sagagen.runtime.clock import Clock

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class SagaTime:
    """Milliseconds since the epoch, as the wall clock said at start, and counted on by the monotonic clock since.

    A wall clock that is behind the log's last row is reported, and that row's time is used. Deadlines and budgets then
    run on from where they were; otherwise they would be granted anew.
    """

    def __init__(self, clock: Clock, last_row_ms: int) -> None:
        wall_ms = clock.wall_ms()
        if wall_ms < last_row_ms:
            _logger.warning("the clock is behind the saga log", clock_ms=wall_ms, log_ms=last_row_ms)
        self._clock = clock
        self._start_ms = max(wall_ms, last_row_ms)
        self._start_s = clock.monotonic_s()

    def now_ms(self) -> int:
        return self._start_ms + int((self._clock.monotonic_s() - self._start_s) * 1000)

    def monotonic_s(self) -> float:
        """For durations within this process."""
        return self._clock.monotonic_s()

    def wall_ms(self) -> int:
        """What the wall clock says now: for times that other machines compare with theirs."""
        return self._clock.wall_ms()
