"""The engine's own time, for its log: it never goes back, neither within a process nor from one process to the next.

Theory of operation. Deadlines and budgets are differences of rows' times, so the time between two rows must be the time
that passed: the monotonic clock counts it. Ages, and when barriers and the log forget, are differences to the time of
other machines: that is the wall clock's, which people and NTP correct. So the engine's time runs towards the wall
clock, slowly enough for budgets: at most a tenth faster than time passes, and at most by half slower. It steps only
forward, and only while no saga is under way whose budget a step would eat.

A jump may be a mistake that is taken back soon, so it is followed once it has stood for STANDS_S. For TOLD_S it is a
problem of readiness, since calls tell other machines by the same wall clock until when they count: long enough for
whoever asks every ten seconds to see it. Longer would take a sound gateway out of service for every correction.
"""

import math

import structlog

from sagagen.runtime.clock import Clock

FOLLOW_S = 1.0
"""Time in seconds between two looks at the wall clock."""
JUMP_S = 5.0
"""A change of the wall clock against the monotonic one, in seconds, that is no drift any more."""
STANDS_S = 120.0
"""Time in seconds after which a jump is taken for a correction."""
TOLD_S = 20.0
"""Time in seconds for which readiness tells of a jump."""
LOOK_S = 5.0
"""How often a wait looks at the clock: where it jumps, as after a machine slept, waits end no later than that."""
FASTEST, SLOWEST = 1.1, 0.5

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class SagaTime:
    """Milliseconds since the epoch. `follow` is to be called every FOLLOW_S.

    A wall clock that is behind the log's last row is reported, and that row's time is used. Deadlines and budgets then
    run on from where they were; otherwise they would be granted anew.
    """

    def __init__(self, clock: Clock, last_row_ms: int, *, is_set: bool = True) -> None:
        """`is_set`: people and NTP set the wall clock."""
        wall_ms = clock.wall_ms()
        if wall_ms < last_row_ms:
            _logger.warning("the clock is behind the saga log", clock_ms=wall_ms, log_ms=last_row_ms)
        self._clock = clock
        self.look_s = LOOK_S if is_set else math.inf
        """How long a wait for a time of day may go on, in seconds, before the clock is looked at again."""
        self._base_ms: float = max(wall_ms, last_row_ms)
        self._base_s = clock.monotonic_s()
        self._ms_per_s: float = 1000.0
        self._offset_ms = wall_ms - self._base_s * 1000
        """The wall clock less the monotonic one, when it was looked at last."""
        self._jumped_at_s = float("-inf")
        self._jump_ms = 0.0

    def now_ms(self) -> int:
        return int(self._base_ms + (self._clock.monotonic_s() - self._base_s) * self._ms_per_s)

    def monotonic_s(self) -> float:
        """For durations within this process."""
        return self._clock.monotonic_s()

    def wall_ms(self) -> int:
        """What the wall clock says now: for times that other machines compare with theirs."""
        return self._clock.wall_ms()

    def reach(self, row_ms: int) -> None:
        """Be no earlier than a row that another process has written, by a clock that differs a little."""
        behind_ms = row_ms - (self._base_ms + (self._clock.monotonic_s() - self._base_s) * self._ms_per_s)
        self._base_ms += max(0.0, behind_ms)

    def follow(self, *, is_idle: bool) -> None:
        """Run towards the wall clock. `is_idle`: no saga is under way, so a step forward shortens no budget."""
        now_s = self._look()
        self._base_ms += (now_s - self._base_s) * self._ms_per_s
        self._base_s = now_s
        behind_ms = self._clock.wall_ms() - self._base_ms
        is_far = abs(behind_ms) > JUMP_S * 1000
        if is_far and not self._stands(now_s):
            self._ms_per_s = 1000.0
        elif is_far and is_idle and behind_ms > 0:
            _logger.warning("the engine's time follows the clock", by_s=round(behind_ms / 1000, 3))
            self._base_ms += behind_ms
            self._ms_per_s = 1000.0
        else:
            self._ms_per_s = 1000.0 * min(FASTEST, max(SLOWEST, 1 + behind_ms / (FOLLOW_S * 1000)))

    def problem(self) -> str:
        """What is wrong with the clock, in a few words; empty if nothing is."""
        now_s = self._look()
        if not self._jump_ms or now_s - self._jumped_at_s >= TOLD_S:
            return ""
        return f"the clock jumped by {self._jump_ms / 1000:+.0f} s"

    def _look(self) -> float:
        """Notice a jump. Returns the time of the monotonic clock."""
        now_s = self._clock.monotonic_s()
        offset_ms = self._clock.wall_ms() - now_s * 1000
        changed_ms = offset_ms - self._offset_ms
        self._offset_ms = offset_ms
        if abs(changed_ms) > JUMP_S * 1000:
            is_undone = abs(self._jump_ms + changed_ms) <= JUMP_S * 1000 and not self._stands(now_s)
            self._jump_ms = 0.0 if is_undone else changed_ms
            self._jumped_at_s = now_s
            _logger.warning("the clock jumped", by_s=round(changed_ms / 1000, 3))
        return now_s

    def _stands(self, now_s: float) -> bool:
        return now_s - self._jumped_at_s >= STANDS_S
