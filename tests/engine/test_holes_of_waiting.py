"""Holes 14 to 17 that the language had before it was built: what an engine and its log say of sagas that wait.

The others are in `tests/simulation/test_holes.py`. Each test sees that it fails where the rule is taken out.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from engine_world import World
from small_mesh import SAGA_ID, acceptance, saga, step
from small_mesh import ManualClock as Clock
from taken_out import taken_out
from test_structure import ANSWERED, WAIT, delivery, event, is_parked, live
from waiting import eventually_async

from sagagen.runtime.engine import deliveries
from sagagen.runtime.engine.acceptance import accepted_row
from sagagen.runtime.engine.embedded import EmbeddedEngine
from sagagen.runtime.engine.port import Delivery, NotDelivered, Refusal
from sagagen.runtime.log import schema
from sagagen.runtime.log.store import SagaLog
from sagagen.runtime.model.definition import Direction
from sagagen.runtime.saga.events import Ended, EventTaken, LogEvent, SagaStatus, Stuck
from sagagen.runtime.saga.history import History, fold
from sagagen.runtime.scope import Failure

WAITS = saga(step("first"), WAIT, events=(event(),))


def history(*rows: LogEvent) -> History:
    return fold([accepted_row(acceptance(WAITS), 0, "run-1"), *rows])


def refusal(of: Callable[[], object]) -> Refusal | None:
    """None if it is taken."""
    try:
        of()
    except NotDelivered as refused:
        return refused.refusal
    return None


def taken(sent: Delivery, before: History) -> Callable[[], object]:
    return lambda: deliveries.row_of(sent, WAITS, before, 0, is_alone=True)


async def parked(path: Path, world: World) -> None:
    async with live(path, ANSWERED, world) as (running, log):
        await running.accept(acceptance(ANSWERED))
        await eventually_async("it is parked", lambda: is_parked(running, log))


async def test_hole_14_without_its_definition_a_saga_says_what_it_waits_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, world = tmp_path / "saga-log.db", World(Clock())
    await parked(path, world)

    async def answer() -> str:
        other = replace(ANSWERED, digest="another")
        async with live(path, other, world) as (running, _):
            with pytest.raises(NotDelivered) as caught:
                await running.deliver(delivery())
        assert (caught.value.refusal, caught.value.retry_after_s) == (Refusal.NOT_READY, 1.0)
        return str(caught.value)

    assert "waits for a deployment" in await answer()
    missing = "missing := self._definitions.missing(logged.accepted)"
    taken_out(monkeypatch, EmbeddedEngine, "_reach", missing, "missing := ''")
    assert "waits for a deployment" not in await answer()


def test_hole_14_a_saga_that_is_stuck_takes_events(monkeypatch: pytest.MonkeyPatch) -> None:
    failure = Failure("UNKNOWN", "GAVE_UP", "", "first")
    stuck = history(Stuck(at_ms=1, direction=Direction.ACTION, failure=failure))
    assert refusal(taken(delivery(), stuck)) is None
    over = "history.ended or history.turned_back or history.cancelled"
    taken_out(monkeypatch, deliveries, "_check_expected", over, f"history.stuck or {over}")
    assert refusal(taken(delivery(), stuck)) is Refusal.SAGA_OVER


async def test_hole_15_an_unknown_saga_is_not_said_to_be_elsewhere(tmp_path: Path) -> None:
    async with live(tmp_path / "saga-log.db", ANSWERED, World(Clock())) as (running, _):
        with pytest.raises(NotDelivered) as caught:
            await running.deliver(delivery())
    assert (caught.value.refusal, caught.value.retry_after_s) == (Refusal.UNKNOWN_SAGA, 1.0)


@pytest.mark.parametrize("asked", ["row_of", "was_kept_or_over"])
def test_hole_15_a_run_that_was_superseded_says_elsewhere(
    asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    superseded = history(Ended(at_ms=1, status=SagaStatus.SUPERSEDED))

    def over() -> object:
        return deliveries.was_kept_or_over(delivery(), WAITS, superseded)

    of = over if asked == "was_kept_or_over" else taken(delivery(), superseded)
    assert refusal(of) is Refusal.SAGA_ELSEWHERE
    taken_out(monkeypatch, deliveries, asked, "is SagaStatus.SUPERSEDED:", "is None:")
    assert refusal(of) is Refusal.SAGA_OVER


def test_hole_16_no_more_events_are_kept_than_waits_can_still_come(monkeypatch: pytest.MonkeyPatch) -> None:
    first = EventTaken(at_ms=1, event="answered", caller="ann", key="k1", fingerprint=b"", payload=b"")
    kept = history(first)
    assert refusal(taken(delivery(key="k2"), kept)) is Refusal.NOT_EXPECTED
    assert list(kept.unconsumed) == [first], "it is shown as long as nothing takes it"
    taken_out(monkeypatch, deliveries, "_check_expected", "if kept >= expected:", "if False:")
    assert refusal(taken(delivery(key="k2"), kept)) is None


async def test_hole_17_sagas_that_wait_are_not_read_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "saga-log.db"
    await parked(path, World(Clock()))

    async def read() -> list[str]:
        async with SagaLog.open(path) as log:
            return [saga_id async for page in log.active_sagas() for saga_id in map(_id_of, page)]

    assert await read() == []
    rule = " AND wake_ms IS NULL"
    assert rule in schema.SELECT_ACTIVE
    monkeypatch.setattr(schema, "SELECT_ACTIVE", schema.SELECT_ACTIVE.replace(rule, ""))
    events = schema.SELECT_ACTIVE_EVENTS.replace(" AND saga.wake_ms IS NULL", "")
    monkeypatch.setattr(schema, "SELECT_ACTIVE_EVENTS", events)
    assert await read() == [SAGA_ID]


def _id_of(found: object) -> str:
    return str(getattr(found, "saga_id", "") or getattr(found, "accepted").saga_id)  # noqa: B009 - one of two kinds
