"""Sagas that only wait, be it between two attempts: they have no task and no place in memory until their time comes.

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
from sagagen.runtime.saga.search import BEGINNING, DueSaga, Place

HORIZON_S = 300.0
"""How far ahead the wheel looks."""
REFILL_S = 120.0
"""How often it looks into the log. Less than the horizon: no saga is late for it."""
PAGE = 10_000
"""Sagas that the wheel takes from the log at once; the others wait there until these are woken."""
CROWDED_S = 0.05
"""How long to wait where as many sagas run as may."""
FOR_EVER_MS = 2**62
"""When a saga wakes that nothing but an event or an operator can wake."""
PARK_FROM_S = 1.0
"""Waits that end earlier are not worth it."""
PARK_BACK_OFF_FROM_S = 30.0
"""Nor is it worth it between two attempts of a call that are less than this apart."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class WaitingSagas(Protocol):
    """The log, as the wheel asks it."""

    async def due(self, after: Place, until_ms: int, at_most: int) -> Sequence[DueSaga]:
        """Sagas that wake until then, behind a place in their order: those first that wake first."""
        ...


class Wheel:
    """Wakes each saga when its time has come.

    It looks through the log again and again, a page at a time. A saga that can't be woken (its definition is missing,
    its rows can't be read) stays in the log as it is: it keeps back none that stands behind it.
    """

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
        self._looks_until_ms = 0
        self._changed = asyncio.Event()
        self._looks_again = False
        """The log has sagas now that it did not show before."""

    def look_again(self) -> None:
        """The log shows other sagas from now on."""
        self._looks_again = True
        self._changed.set()

    def add(self, saga_id: str, wake_ms: int) -> None:
        """The saga waits from now on. The log has it already."""
        if wake_ms < self._looks_until_ms and self._wakes_ms.get(saga_id) != wake_ms:
            self._push(saga_id, wake_ms)
            self._changed.set()

    async def run(self) -> None:
        """Wake sagas until cancelled."""
        while True:
            try:
                await self._look_through()
            except Exception:
                _logger.exception("sagas whose time has come could not be looked for; again in a second")
                await asyncio.sleep(1.0)

    async def _look_through(self) -> None:
        """Take from the log what wakes in the coming minutes, and wake it, until it is time to look again."""
        self._looks_again = False
        ends_s = self._time.monotonic_s() + REFILL_S
        # Before the log is read: what begins to wait meanwhile is added here, whether that is read or not.
        self._looks_until_ms = self._time.now_ms() + round(HORIZON_S * 1000)
        place: Place | None = BEGINNING
        while True:
            if place and self._has_woken_up_to(place):
                place = await self._fill(place)
            self._changed.clear()
            next_s = self._wake_due()
            left_s = ends_s - self._time.monotonic_s()
            if self._looks_again or (not place and left_s <= 0):
                return
            if not place or not self._has_woken_up_to(place):
                at_most_s = min(next_s, self._time.look_s, REFILL_S if place else left_s)
                await sleep_unless_woken(at_most_s, self._changed)

    def _has_woken_up_to(self, place: Place) -> bool:
        """Nothing that the log has up to this place is left in the heap: what is there has begun to wait since."""
        return not self._heap or self._heap[0][0] > place.wake_ms

    async def _fill(self, place: Place) -> Place | None:
        """Take the next page. Returns where the one after it begins; None if there is none."""
        found = await self._log.due(place, self._looks_until_ms, PAGE)
        for saga in found:
            if self._wakes_ms.get(saga.saga_id) != saga.place.wake_ms:
                self._push(saga.saga_id, saga.place.wake_ms)
        return found[-1].place if len(found) == PAGE else None

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
