"""The wheel: sagas are woken when their time has come, and what can't be woken keeps back no other."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

import pytest
from small_mesh import ManualClock
from waiting import eventually_async

from sagagen.runtime.engine import parking
from sagagen.runtime.engine.parking import Wheel
from sagagen.runtime.engine.time import SagaTime
from sagagen.runtime.saga.search import DueSaga, Place

PAGE = 10


class Waiting:
    """A log of sagas that wait; those in `broken` stay as they are when they are woken."""

    def __init__(self, wakes_ms: Sequence[int], broken: int = 0) -> None:
        self.places = {f"s{number}": Place(wake_ms, number) for number, wake_ms in enumerate(wakes_ms, 1)}
        self.broken = {f"s{number}" for number in range(1, broken + 1)}
        self.woken: list[str] = []
        self.reads = 0

    async def due(self, after: Place, until_ms: int, at_most: int) -> list[DueSaga]:
        self.reads += 1
        await asyncio.sleep(0)
        found = sorted((place, saga_id) for saga_id, place in self.places.items() if place > after)
        return [DueSaga(saga_id, place) for place, saga_id in found if place.wake_ms <= until_ms][:at_most]

    def wake(self, saga_id: str) -> None:
        self.woken.append(saga_id)
        if saga_id not in self.broken:
            del self.places[saga_id]


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parking, "PAGE", PAGE)


async def test_those_that_can_not_be_woken_keep_back_none_and_are_not_tried_without_end() -> None:
    clock = ManualClock()
    log = Waiting([clock.ms - 1000] * 35, broken=25)
    wheel = Wheel(log, SagaTime(clock, 0), lambda: 100, log.wake)
    running = asyncio.create_task(wheel.run())
    try:
        await eventually_async("all that can be woken are", lambda: len(log.places) == 25)
        for _ in range(200):
            await asyncio.sleep(0)
        assert len(log.woken) == 35, "each was tried once"
        assert log.reads <= 35 // PAGE + 2
    finally:
        running.cancel()


async def test_a_saga_that_begins_to_wait_while_the_log_is_read_is_woken_in_time() -> None:
    clock = ManualClock()
    log = Waiting([])
    wheel = Wheel(log, SagaTime(clock, 0), lambda: 100, log.wake)
    running = asyncio.create_task(wheel.run())
    try:
        await eventually_async("the log is being read", lambda: log.reads == 1)
        log.places["late"] = Place(clock.ms - 1, 1)
        wheel.add("late", clock.ms - 1)
        await eventually_async("it is woken", lambda: log.woken == ["late"])
    finally:
        running.cancel()


async def test_no_more_are_woken_than_may_run() -> None:
    clock = ManualClock()
    log = Waiting([clock.ms - 1] * 5)
    room = 2
    wheel = Wheel(log, SagaTime(clock, 0), lambda: room - len(log.woken), log.wake)
    running = asyncio.create_task(wheel.run())
    try:
        await eventually_async("as many as may", lambda: len(log.woken) == 2)
        room = 9
        await eventually_async("the others", lambda: len(log.woken) == 5)
    finally:
        running.cancel()


async def test_what_wakes_far_ahead_is_found_while_nearer_ones_come_and_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One saga or another always wakes within minutes: the log is looked through all the same, and nothing spins."""
    clock = ManualClock()
    begin_s, begun_ms = clock.monotonic, clock.ms
    log = Waiting([begun_ms + 1_000_000])
    wheel = Wheel(log, SagaTime(clock, 0), lambda: 100, log.wake)
    sleeps_s: list[float] = []

    async def sleep(seconds: float, _wake: asyncio.Event) -> None:
        sleeps_s.append(seconds)
        if clock.monotonic > begin_s + 1_500 or len(sleeps_s) > 1_000:
            raise asyncio.CancelledError
        clock.advance(seconds)
        name, wake_ms = f"near {len(sleeps_s)}", clock.ms + 240_000
        log.places[name] = Place(wake_ms, 100 + len(sleeps_s))
        wheel.add(name, wake_ms)

    monkeypatch.setattr(parking, "sleep_unless_woken", sleep)
    with suppress(asyncio.CancelledError):
        await wheel.run()
    assert min(sleeps_s) > 0, "it spins"
    assert "s1" in log.woken
    assert log.reads < 50
