"""What an operator commands: durable, between two calls, and never against what the saga has promised."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from engine_world import PatientClock, World, engine
from grpclib.const import Status as Code
from small_mesh import SAGA_ID, ManualClock, acceptance, saga, step, usual_saga

from sagagen.runtime.engine.embedded import EmbeddedEngine
from sagagen.runtime.log.store import SagaLog
from sagagen.runtime.model.definition import Direction, Saga, StepKind
from sagagen.runtime.rpc.errors import DOMAIN, RpcError
from sagagen.runtime.saga.commands import Act, CommandRejected, OperatorCommand, UnknownSaga
from sagagen.runtime.saga.events import Cancelled, LogEvent, Resolved, SagaStatus
from sagagen.runtime.saga.history import fold

ACTION, COMPENSATION = Direction.ACTION, Direction.COMPENSATION
FORGOTTEN = RpcError(Code.FAILED_PRECONDITION, "forgotten", reason="FORGOTTEN", domain=DOMAIN)
RETRY = OperatorCommand(Act.RETRY, "ann")
CANCEL = OperatorCommand(Act.CANCEL, "ann", "wrong order")
RESOLVE = OperatorCommand(Act.RESOLVE, "ann", "refunded by hand", "two")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@asynccontextmanager
async def process(
    path: Path, definition: Saga, world: World, clock: ManualClock
) -> AsyncGenerator[tuple[EmbeddedEngine, SagaLog]]:
    async with SagaLog.open(path) as log, engine(definition, log, world, clock) as running:
        yield running, log


async def rows(log: SagaLog) -> Sequence[LogEvent]:
    logged = await log.find(SAGA_ID)
    assert logged
    return logged.rows


async def run(running: EmbeddedEngine, definition: Saga) -> None:
    await running.accept(acceptance(definition))
    await running.wait_until_idle()


async def test_a_stuck_compensation_is_retried_resolved_and_remembered(
    tmp_path: Path, clock: ManualClock
) -> None:
    definition = usual_saga()
    world = World(
        clock,
        faults={("two", COMPENSATION): [FORGOTTEN, FORGOTTEN]},
        declines=frozenset({"pivot"}),
    )
    async with process(tmp_path / "log.db", definition, world, clock) as (running, log):
        await run(running, definition)
        assert fold(await rows(log)).status is SagaStatus.STUCK
        await running.command(SAGA_ID, RETRY)
        await running.wait_until_idle()
        assert fold(await rows(log)).status is SagaStatus.STUCK, "the service still does not know"
        with pytest.raises(CommandRejected, match="note"):
            await running.command(SAGA_ID, OperatorCommand(Act.RESOLVE, "ann", " "))
        await running.command(SAGA_ID, RESOLVE)
        await running.wait_until_idle()
        logged = await rows(log)
        assert fold(logged).status is SagaStatus.COMPENSATED
        resolved = next(row for row in logged if isinstance(row, Resolved))
        assert (resolved.step, resolved.by, resolved.note) == ("two", "ann", "refunded by hand")
        assert resolved.at_ms > 0
    assert world.done(COMPENSATION) == ["one"], "what lies before the resolved one is undone by its service"


async def test_a_saga_that_waits_between_two_attempts_is_cancelled_at_once(tmp_path: Path) -> None:
    definition, clock = usual_saga(), PatientClock()
    world = World(clock, faults={("two", ACTION): ["lost", "down"]})
    async with process(tmp_path / "log.db", definition, world, clock) as (running, log):
        await running.accept(acceptance(definition))
        await clock.waits.wait()
        await running.command(SAGA_ID, CANCEL)
        assert any(isinstance(row, Cancelled) and row.by == "ann" for row in await rows(log)), "durable now"
        await running.wait_until_idle()
        assert fold(await rows(log)).status is SagaStatus.COMPENSATED
    assert world.done(COMPENSATION) == ["two", "one"]


async def test_a_saga_stuck_on_its_way_forward_is_cancelled(tmp_path: Path, clock: ManualClock) -> None:
    definition = usual_saga()
    world = World(clock, faults={("two", ACTION): [FORGOTTEN]})
    async with process(tmp_path / "log.db", definition, world, clock) as (running, log):
        await run(running, definition)
        assert fold(await rows(log)).status is SagaStatus.STUCK
        await running.command(SAGA_ID, CANCEL)
        await running.wait_until_idle()
        assert fold(await rows(log)).status is SagaStatus.COMPENSATED
    assert world.done(COMPENSATION) == ["one"]


async def test_a_saga_stuck_before_its_pivot_is_cancelled_after_a_restart_too(tmp_path: Path) -> None:
    """RESUMED does not name the step that is in doubt since then; it never is one that comes later."""
    definition, clock = usual_saga(), PatientClock()
    world = World(clock, faults={("two", ACTION): ["down", FORGOTTEN]})
    async with process(tmp_path / "log.db", definition, world, clock) as (running, _):
        await running.accept(acceptance(definition))
        await clock.waits.wait()
    async with process(tmp_path / "log.db", definition, world, clock) as (running, log):
        await running.wait_until_idle()
        stuck = fold(await rows(log))
        assert (stuck.status, stuck.was_resumed("two")) == (SagaStatus.STUCK, True)
        await running.command(SAGA_ID, CANCEL)
        await running.wait_until_idle()
        assert fold(await rows(log)).status is SagaStatus.COMPENSATED
    assert world.done(COMPENSATION) == ["one"]


async def test_what_the_pivot_may_have_decided_is_not_cancelled(tmp_path: Path, clock: ManualClock) -> None:
    definition = saga(step("one"), step("pivot", StepKind.PIVOT), step("after", StepKind.RETRIABLE))
    for name, stuck_at in (("pivot", "pivot"), ("after", "after")):
        world = World(clock, faults={(stuck_at, ACTION): [FORGOTTEN]})
        async with process(tmp_path / f"{name}.db", definition, world, clock) as (running, log):
            await run(running, definition)
            with pytest.raises(CommandRejected, match="only goes forward"):
                await running.command(SAGA_ID, CANCEL)
            with pytest.raises(CommandRejected, match="not at step two any more"):
                await running.command(SAGA_ID, RESOLVE)
            await running.command(SAGA_ID, RETRY)
            await running.wait_until_idle()
            assert fold(await rows(log)).status is SagaStatus.COMPLETED
            with pytest.raises(CommandRejected, match="over"):
                await running.command(SAGA_ID, CANCEL)


async def test_two_operators_at_once_are_one_retry(tmp_path: Path, clock: ManualClock) -> None:
    definition = usual_saga()
    world = World(clock, faults={("two", ACTION): [FORGOTTEN]})
    async with process(tmp_path / "log.db", definition, world, clock) as (running, log):
        await run(running, definition)
        results = await asyncio.gather(
            running.command(SAGA_ID, RETRY), running.command(SAGA_ID, RETRY), return_exceptions=True
        )
        await running.wait_until_idle()
        assert fold(await rows(log)).status is SagaStatus.COMPLETED
    assert sorted(type(result).__name__ for result in results) == ["CommandRejected", "NoneType"]


async def test_commands_for_unknown_sagas_and_missing_definitions_say_so(
    tmp_path: Path, clock: ManualClock
) -> None:
    definition = usual_saga()
    world = World(clock, faults={("two", ACTION): [FORGOTTEN]})
    async with process(tmp_path / "log.db", definition, world, clock) as (running, _):
        await run(running, definition)
        with pytest.raises(UnknownSaga, match="nobody"):
            await running.command("nobody", RETRY)
    async with process(tmp_path / "log.db", usual_saga(version=2), world, clock) as (running, _):
        with pytest.raises(CommandRejected, match="place version 1"):
            await running.command(SAGA_ID, RETRY)
