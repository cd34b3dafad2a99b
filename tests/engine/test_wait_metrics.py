"""How long sagas have waited, and which of their events nothing waited for, as Prometheus is told."""

from dataclasses import replace
from pathlib import Path

import pytest
from engine_world import PatientClock, World, engine
from prometheus_client import REGISTRY
from small_mesh import SAGA_ID, ManualClock, Text, acceptance, method, saga, step, text
from waiting import eventually_async

from sagagen.runtime.engine.port import Delivery
from sagagen.runtime.log.store import SagaLog
from sagagen.runtime.model.definition import Decline, Delay, Event, Saga, StepKind, Wait
from sagagen.runtime.saga.view import SagaView, StepStatus
from sagagen.runtime.scope import EventScope

COMPENSATABLE, PIVOT, _ = StepKind


def its_id(scope: EventScope[Text, Text]) -> str:
    return SAGA_ID


def says_no(scope: EventScope[Text, Text]) -> bool:
    return scope.event.value == "no"


def waiting(name: str) -> Saga:
    """A saga of a name of its own, since what is counted stays counted."""
    elements = (
        step("first"),
        Delay("pause", COMPENSATABLE, after_s=5.0),
        Wait("answer", COMPENSATABLE, "told", 7.0, Decline(says_no, "SAID_NO"), None),
        step("pivot", PIVOT),
    )
    events = tuple(Event(each, method("Tell"), its_id) for each in ("told", "other"))
    return replace(saga(step("first")), name=name, steps=elements, events=events)


def told(name: str, sample: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"sagagen_saga_{sample}", {"saga": name, **labels}) or 0.0


async def test_a_delay_and_a_wait_that_times_out_are_measured(tmp_path: Path) -> None:
    definition, clock = waiting("measured"), ManualClock()
    async with (
        SagaLog.open(tmp_path / "log.db") as log,
        engine(definition, log, World(clock), clock) as running,
    ):
        await running.accept(acceptance(definition))
        await running.wait_until_idle()
    for name, seconds in (("pause", 5.0), ("answer", 7.0)):
        assert told("measured", "waited_seconds_count", step=name) == 1
        assert told("measured", "waited_seconds_sum", step=name) == pytest.approx(seconds, abs=0.1)


async def test_what_turns_back_ends_its_wait_and_its_events_are_unconsumed(tmp_path: Path) -> None:
    definition, clock = waiting("left"), PatientClock()
    definition = replace(definition, steps=tuple(each for each in definition.steps if each.name != "pause"))
    twice = (replace(definition.steps[1], name="again", event="other"), definition.steps[2])
    definition = replace(definition, steps=(*definition.steps[:2], *twice))
    async with (
        SagaLog.open(tmp_path / "log.db") as log,
        engine(definition, log, World(clock), clock) as running,
    ):
        await running.accept(acceptance(definition))
        await eventually_async("the saga to wait", lambda: running.describe(SAGA_ID), waits)
        for event, value in (("other", "early"), ("told", "no")):
            await running.deliver(Delivery("left", SAGA_ID, event, event, b"", text(value), "ann"))
        await running.wait_until_idle()
    assert told("left", "waited_seconds_count", step="answer") == 1
    assert told("left", "waited_seconds_count", step="again") == 0
    assert told("left", "unconsumed_events_total", event="other") == 1
    assert told("left", "unconsumed_events_total", event="told") == 0


def waits(view: SagaView | None) -> bool:
    return bool(view) and any(each.status is StepStatus.WAITING for each in view.steps)
