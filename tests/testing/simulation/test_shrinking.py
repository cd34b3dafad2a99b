"""What breaks is made small: only what it needs is left, whatever stood around it."""

from collections.abc import Iterator
from dataclasses import replace

from sagagen.runtime.model.definition import Direction
from sagagen.testing.simulation.schedule import CALM, Fault, FaultKind, Kill, Schedule, SentEvent, SentSaga
from sagagen.testing.simulation.shrinking import shrunk

LOST = Fault("reserve", Direction.ACTION, 1, FaultKind.ANSWER_LOST)
OTHER = Fault("charge", Direction.ACTION, 2, FaultKind.LATE, 2345)
EVENT = SentEvent("answered", 61_234, "{}", "k")
LARGE = Schedule(
    99,
    tuple(
        SentSaga(
            number, "place_order", 731 * number, f"item {number % 3}", "ann", (LOST, OTHER), (EVENT, EVENT)
        )
        for number in range(1, 26)
    ),
    tuple(Kill("gateway", 137 * number) for number in range(5)),
)


def simpler(saga: SentSaga) -> Iterator[SentSaga]:
    if saga.input != "item 0":
        yield replace(saga, input="item 0")


def test_two_sagas_that_meet_are_left() -> None:
    def breaks(schedule: Schedule) -> bool:
        return sum(LOST in saga.faults for saga in schedule.sagas) >= 2

    assert shrunk(LARGE, breaks, simpler) == Schedule(
        CALM,
        (
            SentSaga(1, "place_order", 0, "item 0", faults=(LOST,)),
            SentSaga(2, "place_order", 0, "item 0", faults=(LOST,)),
        ),
    )


def test_what_it_needs_stays() -> None:
    def breaks(schedule: Schedule) -> bool:
        is_killed = any(kill.at_ms > 200 for kill in schedule.kills)
        return is_killed and any(saga.input == "item 2" and saga.events for saga in schedule.sagas)

    small = shrunk(LARGE, breaks, simpler)
    assert small.pace == CALM
    assert len(small.kills) == 1 < small.kills[0].at_ms
    (saga,) = small.sagas
    assert (saga.number, saga.input, saga.caller, saga.faults) == (1, "item 2", "anonymous", ())
    assert [event.after_ms for event in saga.events] == [0]


def test_it_is_played_no_more_often_than_is_allowed() -> None:
    played: list[Schedule] = []

    def breaks(schedule: Schedule) -> bool:
        played.append(schedule)
        return len(schedule.sagas) > 20

    assert breaks(shrunk(LARGE, breaks, most_runs=30))
    assert len(played) <= 31
    assert len(set(played[:-1])) == len(played) - 1, "none is played twice"
