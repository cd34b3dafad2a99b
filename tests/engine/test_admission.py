"""Who may still begin, by a clock of the test's own: the rule alone, and whole queues of which every time is known."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagagen.runtime.engine.admission import BURST, CALM_S, LATE_S, LEAST, TARGET_S, Admission
from sagagen.runtime.engine.calls import Slots


def test_an_idle_engine_takes_a_burst_and_no_more() -> None:
    admission = Admission()
    for number in range(BURST):
        assert admission.room(0.0) == BURST - number
        admission.join(str(number), 0.0)
    assert admission.room(0.0) == 0


def test_nobody_joins_while_the_first_in_line_gets_nowhere() -> None:
    admission = Admission()
    admission.join("a", 0.0)
    assert admission.room(TARGET_S - 0.01) > 0
    assert admission.room(LATE_S) == 0
    admission.leave("a", LATE_S)
    assert admission.room(LATE_S) > 0


def test_it_is_calm_again_after_a_second_without_a_wait_or_a_refusal() -> None:
    admission = Admission()
    admission.join("a", 0.0)
    admission.leave("a", TARGET_S)
    assert admission.room(TARGET_S) == LEAST
    assert admission.room(TARGET_S + CALM_S - 0.01) == LEAST
    assert admission.room(TARGET_S + CALM_S) == BURST


def test_whoever_leaves_twice_or_never_joined_counts_once() -> None:
    admission = Admission()
    admission.join("a", 0.0)
    for _ in range(3):
        admission.leave("a", 0.1)
    admission.leave("b", 0.1)
    assert admission.room(0.1) == BURST


@dataclass
class Queue:
    """Sagas arrive and get their first calls, one after the other; refused ones come back never."""

    per_s: float
    """First calls a second, while nothing hangs."""
    admission: Admission = field(default_factory=Admission)
    line: deque[tuple[str, float]] = field(default_factory=deque[tuple[str, float]])
    waits_s: list[float] = field(default_factory=list[float])
    offered: int = 0
    now_s: float = 0.0

    def run(self, seconds: float, offered_per_s: float, *, hangs: bool = False) -> None:
        """Time goes in steps of a millisecond."""
        calls = arrivals = 0.0
        for _ in range(round(seconds * 1000)):
            self.now_s += 0.001
            arrivals += offered_per_s / 1000
            calls = 0.0 if hangs else min(calls + self.per_s / 1000, 1 + self.per_s / 1000)
            while arrivals >= 1:
                arrivals -= 1
                self._arrive()
            while calls >= 1 and self.line:
                calls -= 1
                self._call()

    def _arrive(self) -> None:
        self.offered += 1
        if self.admission.room(self.now_s):
            self.line.append((str(self.offered), self.now_s))
            self.admission.join(str(self.offered), self.now_s)

    def _call(self) -> None:
        saga_id, since_s = self.line.popleft()
        self.waits_s.append(self.now_s - since_s)
        self.admission.leave(saga_id, self.now_s)


few = settings(max_examples=12, deadline=None)
"""A queue has some thousand steps, and each run is much like the next."""


@few
@given(per_s=st.floats(80, 2000), factor=st.floats(1.2, 10))
def test_overload_costs_neither_throughput_nor_the_patience_of_the_accepted(
    per_s: float, factor: float
) -> None:
    queue = Queue(per_s)
    queue.run(BURST / per_s + 1, per_s * factor)  # until the first burst is worked off
    before = len(queue.waits_s)
    queue.run(2.0, per_s * factor)
    settled_s = queue.waits_s[before:]
    assert len(settled_s) >= 0.95 * per_s * 2.0
    assert max(settled_s) <= max(TARGET_S, LEAST / per_s) * 1.5


@few
@given(per_s=st.floats(80, 2000), share=st.floats(0.05, 0.9))
def test_nobody_is_refused_who_could_be_worked_off(per_s: float, share: float) -> None:
    queue = Queue(per_s)
    queue.run(3.0, per_s * share)
    assert len(queue.waits_s) + len(queue.line) == queue.offered


def test_services_that_hang_are_noticed_and_what_was_accepted_goes_on() -> None:
    queue = Queue(per_s=400)
    queue.run(2.0, 200)
    queue.run(5.0, 200, hangs=True)
    waiting = len(queue.line)
    assert waiting <= max(BURST, 200 * LATE_S)
    refused = queue.offered - waiting - len(queue.waits_s)
    assert refused >= 200 * 4
    queue.run(5.0, 200)
    assert len(queue.line) <= 1
    assert queue.admission.room(queue.now_s) >= LEAST


@pytest.mark.parametrize("is_new_first", [True, False])
async def test_a_saga_under_way_gets_a_place_before_one_that_begins(is_new_first: bool) -> None:
    slots, order = Slots(1), list[str]()
    await slots.take(is_first=True)

    async def call(name: str, *, is_first: bool) -> None:
        await slots.take(is_first=is_first)
        order.append(name)
        slots.give_back()

    names = [("new", True), ("under way", False)]
    async with asyncio.TaskGroup() as group:
        for name, is_first in names if is_new_first else reversed(names):
            group.create_task(call(name, is_first=is_first))
            await asyncio.sleep(0)
        slots.give_back()
    assert order == ["under way", "new"]


@given(st.lists(st.tuples(st.sampled_from(["take first", "take", "give back", "cancel"]), st.integers(0, 9))))
def test_no_place_is_lost_or_made_however_calls_come_end_and_are_cancelled(
    acts: list[tuple[str, int]],
) -> None:
    async def run() -> None:
        slots, waiting = Slots(3), list[asyncio.Task[None]]()
        held = 0
        for act, number in acts:
            if act.startswith("take"):
                waiting.append(asyncio.create_task(slots.take(is_first=act == "take first")))
            elif act == "give back" and held:
                held -= 1
                slots.give_back()
            elif act == "cancel" and waiting:
                waiting[number % len(waiting)].cancel()  # perhaps in the turn in which it gets its place
            if number % 2:
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                done = [task for task in waiting if task.done()]
                held += sum(not task.cancelled() for task in done)
                waiting = [task for task in waiting if not task.done()]
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        held += sum(not task.cancelled() for task in waiting)
        for _ in range(held):
            slots.give_back()
        for _ in range(3):
            await asyncio.wait_for(slots.take(is_first=True), 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(slots.take(is_first=True), 0)

    asyncio.run(run())
