"""Sagas that only wait: they have no task and no place in memory until their time comes.

The log knows when each of them has something to do again (`saga.wake_ms`). A wheel holds those of the coming minutes,
so that a thousand waits that end in a year cost nothing but their rows.
"""

import asyncio
from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Protocol

import structlog

from sagagen.runtime.clock import sleep_unless_woken
from sagagen.runtime.engine.time import SagaTime

HORIZON_S = 300.0
"""How far ahead the wheel looks."""
REFILL_S = 120.0
"""How often it looks into the log. Less than the horizon: no saga is late for it."""
PAGE = 10_000
"""Sagas that the wheel takes from the log at once; the others wait there until these are woken."""
LOOK_S = 5.0
"""How often the clock is looked at: where it jumps, as after a machine slept, waits end no later than that."""
CROWDED_S = 0.05
"""How long to wait where as many sagas run as may."""
FOR_EVER_MS = 2**62
"""When a saga wakes that nothing but an event or an operator can wake."""
PARK_FROM_S = 1.0
"""Waits that end earlier are not worth it."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class WaitingSagas(Protocol):
    """The log, as the wheel asks it."""

    async def due(self, until_ms: int, at_most: int) -> Sequence[tuple[str, int]]:
        """Ids of sagas that wake until then, and when, those first that wake first."""
        ...


class Wheel:
    """Wakes each saga when its time has come."""

    def __init__(
        self, log: WaitingSagas, time: SagaTime, room: Callable[[], int], wake: Callable[[str], None]
    ) -> None:
        """`room` says how many more sagas may run; `wake` begins one, unless it has begun already."""
        self._log = log
        self._time = time
        self._room = room
        self._wake = wake
        self._heap: list[tuple[int, str]] = []
        self._wakes_ms: dict[str, int] = {}
        """Of the sagas in the heap; what the heap says else is of an earlier wait."""
        self._filled_until_ms = 0
        self._changed = asyncio.Event()

    def add(self, saga_id: str, wake_ms: int) -> None:
        """The saga waits from now on. The log has it already."""
        if wake_ms < self._filled_until_ms and self._wakes_ms.get(saga_id) != wake_ms:
            self._push(saga_id, wake_ms)
            self._changed.set()

    async def run(self) -> None:
        """Wake sagas until cancelled."""
        while True:
            try:
                await self._fill()
                next_fill_s = self._time.monotonic_s() + REFILL_S
                while (left_s := next_fill_s - self._time.monotonic_s()) > 0 and not self._is_drained():
                    self._changed.clear()
                    await sleep_unless_woken(min(left_s, self._wake_due(), LOOK_S), self._changed)
            except Exception:
                _logger.exception("sagas whose time has come could not be looked for; again in a second")
                await asyncio.sleep(1.0)

    def _is_drained(self) -> bool:
        """The log may have more of the coming minutes than the wheel could take."""
        return not self._heap and self._filled_until_ms < self._time.now_ms()

    async def _fill(self) -> None:
        until_ms = self._time.now_ms() + round(HORIZON_S * 1000)
        found = await self._log.due(until_ms, PAGE)
        # Before what comes while this goes on: `add` pushes from here on.
        self._filled_until_ms = until_ms if len(found) < PAGE else found[-1][1]
        for saga_id, wake_ms in found:
            if self._wakes_ms.get(saga_id) != wake_ms:
                self._push(saga_id, wake_ms)

    def _push(self, saga_id: str, wake_ms: int) -> None:
        self._wakes_ms[saga_id] = wake_ms
        heappush(self._heap, (wake_ms, saga_id))

    def _wake_due(self) -> float:
        """Wake those whose time has come. Returns the seconds until the next one."""
        while self._heap:
            wake_ms, saga_id = self._heap[0]
            if (left_ms := wake_ms - self._time.now_ms()) > 0:
                return left_ms / 1000
            if self._room() <= 0:
                return CROWDED_S
            heappop(self._heap)
            if self._wakes_ms.get(saga_id) == wake_ms:
                del self._wakes_ms[saga_id]
                self._wake(saga_id)
        return REFILL_S
