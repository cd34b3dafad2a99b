"""What happened, as sentences that a person reads."""

from sagagen.runtime.model.definition import Direction
from sagagen.testing.simulation.outcomes import Happening, Played, What
from sagagen.testing.simulation.schedule import Fault, FaultKind, Kill, Schedule, SentSaga
from sagagen.testing.simulation.stories import story

ACTION, COMPENSATION = Direction


def call(saga: int, step: str, *, what: What = What.DONE, attempt: int = 1, detail: str = "") -> Happening:
    return Happening(0, what, saga, step, str(ACTION), attempt, detail)


def test_a_saga_whose_answer_is_lost_reads_as_a_story() -> None:
    lost = Fault("reserve", ACTION, 1, FaultKind.ANSWER_LOST)
    schedule = Schedule(0, (SentSaga(1, "order", 0, '{"item": "a"}', faults=(lost,)),), (Kill("stock", 3),))
    trace = [
        Happening(0, What.STARTS, 1),
        Happening(3, What.STARTS, 1),
        call(1, "create", what=What.CALL),
        call(1, "create"),
        call(1, "check", what=What.CALL),
        call(1, "check"),
        call(1, "reserve", what=What.CALL),
        call(1, "reserve", what=What.FAILED, detail="DEADLINE_EXCEEDED"),
        Happening(2003, What.KILLED, detail="stock"),
        Happening(2003, What.DIES, detail="stock"),
        Happening(2003, What.UP, detail="stock"),
        call(1, "reserve", what=What.CALL, attempt=2),
        call(1, "reserve", attempt=2, detail="again"),
        call(1, "pay", what=What.CALL),
        call(1, "pay", what=What.FAILED, detail="NO_MONEY"),
        Happening(0, What.BACK, 1, detail="NO_MONEY"),
        Happening(0, What.DONE, 1, "reserve", str(COMPENSATION), 1),
        Happening(0, What.ENDS, 1, detail="COMPENSATED"),
    ]
    assert story(schedule, Played(trace, {})) == [
        '1. order 1 starts with {"item": "a"}.',
        "2. order 1: create and check are done.",
        "3. order 1: reserve is sent; it is done, and the answer is lost.",
        "4. service stock dies.",
        "5. order 1: reserve is done already, the recorded answer comes.",
        "6. order 1: pay is sent and fails: NO_MONEY.",
        "7. order 1: undoing reserve is done.",
        "8. order 1: it is COMPENSATED.",
    ]


def test_a_story_is_no_novel() -> None:
    sagas = tuple(SentSaga(number, "order", 0, "x" * 900) for number in range(1, 101))
    trace = [Happening(0, What.STARTS, saga.number) for saga in sagas]
    told = story(Schedule(0, sagas), Played(trace, {}))
    assert len(told) < 70
    assert told[0].startswith("1. order 1 starts with xxx")
    assert len(told[0]) < 450
    assert "more happen" in told[-6]
