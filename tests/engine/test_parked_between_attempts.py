"""A saga whose next attempt is far away leaves memory until then; neither restarts nor events change when that is."""

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from engine_world import World
from grpclib.const import Status as Code
from small_mesh import RETRY, SAGA_ID, ManualClock, acceptance, saga, step
from test_structure import WAIT, block, delivery, ended, event, is_parked, live
from waiting import eventually_async

from sagagen.runtime.clock import SystemClock
from sagagen.runtime.engine.embedded import EmbeddedEngine
from sagagen.runtime.log.store import SagaLog
from sagagen.runtime.model.definition import Direction, Saga, StepKind
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.saga.commands import Act, OperatorCommand
from sagagen.runtime.saga.events import EventTaken, LogEvent, Resumed, SagaStatus
from sagagen.runtime.saga.view import StepStatus

ACTION = Direction.ACTION
ASKED_S = 60.0
ONE = step("one", StepKind.RETRIABLE, retry=replace(RETRY, give_up_after_s=90.0))
LINE = saga(ONE, deadline_s=3600.0, respond_after="acceptance")
TREE = saga(
    block("both", StepKind.RETRIABLE, a=[ONE], b=[replace(WAIT, kind=StepKind.RETRIABLE, decline=None)]),
    events=(event(),),
    deadline_s=3600.0,
    respond_after="acceptance",
)


@dataclass(frozen=True)
class Later(SystemClock):
    """A clock that has gone on by so many seconds."""

    seconds: float

    def wall_ms(self) -> int:
        return super().wall_ms() + round(self.seconds * 1000)


def busy() -> World:
    """Its first answer asks for a minute."""
    fault = RpcError(Code.UNAVAILABLE, "busy", retry_after_s=ASKED_S)
    return World(ManualClock(), faults={("one", ACTION): [fault]})


async def parked(path: Path, definition: Saga, world: World) -> None:
    async with live(path, definition, world) as (running, log):
        await running.accept(acceptance(definition))
        await eventually_async("it is parked", lambda: is_parked(running, log))
        view = await running.describe(SAGA_ID)
        assert view
        assert [(each.status, each.attempts) for each in view.steps if each.name == "one"] == [
            (StepStatus.RUNNING, 1)
        ]


async def rows_of(log: SagaLog) -> tuple[LogEvent, ...]:
    logged = await log.find(SAGA_ID)
    assert logged
    return tuple(logged.rows)


@pytest.mark.parametrize("later_s", [ASKED_S + 2, 10 * ASKED_S], ids=["in time", "after its budget"])
async def test_it_goes_on_when_it_is_time(tmp_path: Path, later_s: float) -> None:
    path, world = tmp_path / "saga-log.db", busy()
    await parked(path, LINE, world)
    async with live(path, LINE, world) as (running, log):
        assert await is_parked(running, log), "a restart is nothing to it"
    async with live(path, LINE, world, clock=Later(later_s)) as (running, log):
        assert await ended(running) is SagaStatus.COMPLETED
        resumed = [row for row in await rows_of(log) if isinstance(row, Resumed)]
        assert len(resumed) == (later_s > 2 * ASKED_S), "its budget ends nothing before one more attempt"
    assert len(world.calls) == 2


async def test_an_event_brings_it_back_and_makes_no_attempt_before_its_time(tmp_path: Path) -> None:
    path, world = tmp_path / "saga-log.db", busy()
    await parked(path, TREE, world)
    async with live(path, TREE, world) as (running, log):
        before = await log.find(SAGA_ID)
        await running.deliver(delivery())
        await eventually_async("it is parked again", lambda: is_parked(running, log))
        after = await log.find(SAGA_ID)
        assert before
        assert after
        assert any(isinstance(row, EventTaken) for row in after.rows)
        assert after.wake_ms == before.wake_ms, "its end is where it was"
        assert len(world.calls) == 1


@pytest.mark.parametrize("definition", [LINE, TREE], ids=["line", "tree"])
async def test_an_operator_brings_it_back(tmp_path: Path, definition: Saga) -> None:
    path, world = tmp_path / "saga-log.db", busy()
    await parked(path, definition, world)
    async with live(path, definition, world) as (running, _):
        await running.command(SAGA_ID, OperatorCommand(Act.RETRY, "ann", "it is back"))
        await eventually_async("its second attempt", lambda: _is_done(running))
    assert len(world.calls) == 2


async def _is_done(running: EmbeddedEngine) -> bool:
    view = await running.describe(SAGA_ID)
    assert view
    return any(each.name == "one" and each.status is StepStatus.DONE for each in view.steps)
