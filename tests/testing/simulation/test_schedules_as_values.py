"""A schedule as a value: its code, and numbers that depend on names alone."""

import pytest

from sagagen.runtime.model.definition import Direction
from sagagen.testing.simulation.schedule import (
    CALM,
    BadCode,
    Fault,
    FaultKind,
    Kill,
    Schedule,
    SentEvent,
    SentSaga,
    decoded,
    encoded,
)

SCHEDULE = Schedule(
    17,
    (
        SentSaga(
            1,
            "place_order",
            30,
            '{"customer_id": "größe"}',
            "ann",
            (Fault("reserve[margherita]", Direction.COMPENSATION, 2, FaultKind.TWICE, 1200),),
            (SentEvent("answered", 500, "{}", "k"), SentEvent("", 7, "{}", "cancel")),
        ),
        SentSaga(2, "place_order", 0, "{}"),
    ),
    (Kill("gateway", 99),),
)


def test_a_code_holds_all_of_a_schedule() -> None:
    assert decoded(encoded(SCHEDULE)) == SCHEDULE
    assert decoded(f" {encoded(SCHEDULE)}\n") == SCHEDULE


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("", "no code"),
        ("hello", "no code"),
        ("größe", "no code"),
        (encoded(SCHEDULE)[:40], "cut off"),
        (encoded(SCHEDULE)[3:], "no code"),
    ],
)
def test_what_is_no_code_is_refused_with_the_reason(code: str, why: str) -> None:
    with pytest.raises(BadCode, match=why):
        decoded(code)


def test_a_number_is_a_function_of_its_name_and_the_pace() -> None:
    names = [("to", number) for number in range(200)]
    drawn = [SCHEDULE.between(10, 20, *name) for name in names]
    assert set(drawn) == set(range(10, 21))
    assert [SCHEDULE.between(10, 20, *name) for name in reversed(names)] == drawn[::-1]
    assert Schedule(18, ()).between(10, 20, *names[0]) != drawn[0] or drawn != [
        Schedule(18, ()).between(10, 20, *name) for name in names
    ]
    assert {Schedule(CALM, ()).between(10, 20, *name) for name in names} == {10}
