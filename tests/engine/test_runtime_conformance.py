"""What every engine does, seen through its port: `SagaRuntime`."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from engine_world import PatientClock, World
from grpclib.const import Status as Code
from readable import readable
from runtime_conformance import LONG_S, RUNTIMES, RuntimeFactory, over, until
from small_mesh import SAGA_ID, TRACE, ManualClock, acceptance, saga, step, text, usual_saga
from waiting import eventually_async

from sagagen.runtime.engine.port import (
    CallerQuery,
    CommandRejected,
    Overloaded,
    SagaPage,
    SagaQuery,
    SagaRuntime,
    UnknownSaga,
)
from sagagen.runtime.identity import saga_id
from sagagen.runtime.model.definition import Direction, StepKind
from sagagen.runtime.rpc.errors import DOMAIN, RpcError
from sagagen.runtime.rpc.transport import Reply
from sagagen.runtime.saga.commands import Act, OperatorCommand
from sagagen.runtime.saga.events import Accepted, Cancelled, Ended, Resolved, SagaStatus
from sagagen.runtime.saga.history import fold
from sagagen.runtime.saga.result import Succeeded, Unsuccessful
from sagagen.runtime.saga.view import StepStatus

ACTION, COMPENSATION = Direction.ACTION, Direction.COMPENSATION
RETRY = OperatorCommand(Act.RETRY, "ann")
CANCEL = OperatorCommand(Act.CANCEL, "ann", "wrong order")
RESOLVE = OperatorCommand(Act.RESOLVE, "ann", "refunded by hand", "two")
FORGOTTEN = RpcError(Code.FAILED_PRECONDITION, "forgotten", reason="FORGOTTEN", domain=DOMAIN)
SUCCESS = Succeeded(201, "test.v1.Text", text("answer to x"))


@pytest.fixture(params=RUNTIMES.values(), ids=[*RUNTIMES])
def opened(request: pytest.FixtureRequest) -> RuntimeFactory:
    return request.param


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def world(clock: ManualClock) -> World:
    return World(clock)


class Held(World):
    """Calls wait until they are let go."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.reached = asyncio.Event()
        self.go = asyncio.Event()

    async def call(
        self, path: str, request: bytes, *, metadata: Mapping[str, str], timeout_s: float
    ) -> Reply:
        self.reached.set()
        await self.go.wait()
        return await super().call(path, request, metadata=metadata, timeout_s=timeout_s)


@pytest.fixture
def held(clock: ManualClock) -> Held:
    return Held(clock)


async def search(runtime: SagaRuntime, query: SagaQuery) -> list[str]:
    return [found.accepted.saga_id for found in readable(await runtime.search(query))]


# accept


async def test_a_new_saga_is_accepted_and_is_there(
    opened: RuntimeFactory, tmp_path: Path, held: Held, clock: ManualClock
) -> None:
    definition = usual_saga()
    async with opened(tmp_path, definition, held, clock) as runtime:
        started = await runtime.accept(acceptance(definition))
        assert (started.saga_id, started.is_new, started.result) == (SAGA_ID, True, None)
        assert (started.caller, started.trace_id) == ("anonymous", TRACE.trace_id)
        assert started.fingerprint == acceptance(definition).fingerprint
        assert (started.status, started.started_ms) == (SagaStatus.RUNNING, clock.ms)
        found = await runtime.find(SAGA_ID)
        assert found
        assert isinstance(found.rows[0], Accepted)
        assert found.accepted.input == text("x")
        held.go.set()


async def test_of_twenty_at_once_one_is_new_and_all_are_that_saga(
    opened: RuntimeFactory, tmp_path: Path, world: World, clock: ManualClock
) -> None:
    definition = usual_saga()
    async with opened(tmp_path, definition, world, clock) as runtime:
        started = await asyncio.gather(*(runtime.accept(acceptance(definition)) for _ in range(20)))
        assert [each.is_new for each in started].count(True) == 1
        assert {(each.saga_id, each.trace_id, each.started_ms) for each in started} == {
            (SAGA_ID, TRACE.trace_id, started[0].started_ms)
        }
        assert await over(runtime) is SagaStatus.COMPLETED
    assert world.done(ACTION) == ["one", "two", "pivot", "after"]


@pytest.mark.parametrize("when", ["while it runs", "when it is over", "after a restart"])
async def test_another_payload_finds_the_first_one(
    opened: RuntimeFactory, tmp_path: Path, held: Held, clock: ManualClock, when: str
) -> None:
    definition = usual_saga()
    if when != "while it runs":
        held.go.set()
    async with opened(tmp_path, definition, held, clock) as runtime:
        await runtime.accept(acceptance(definition))
        if when != "while it runs":
            await over(runtime)
        if when != "after a restart":
            await finds_the_first(runtime)
        held.go.set()
    if when == "after a restart":
        async with opened(tmp_path, definition, held, clock) as runtime:
            await finds_the_first(runtime)
    assert held.done(ACTION).count("one") == 1


async def finds_the_first(runtime: SagaRuntime) -> None:
    definition = usual_saga()
    other = replace(acceptance(definition, input="other"), caller="bob")
    started = await runtime.accept(other)
    assert (started.is_new, started.caller) == (False, "anonymous")
    assert started.fingerprint == acceptance(definition).fingerprint != other.fingerprint


async def test_a_caller_that_leaves_changes_nothing(
    opened: RuntimeFactory, tmp_path: Path, world: World, clock: ManualClock
) -> None:
    definition = usual_saga()
    async with opened(tmp_path, definition, world, clock) as runtime:
        leaving = asyncio.create_task(runtime.accept(acceptance(definition)))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert not (await runtime.accept(acceptance(definition))).is_new
        assert await over(runtime) is SagaStatus.COMPLETED


# wait


async def test_whoever_waits_gets_the_result_once_it_is_durable(
    opened: RuntimeFactory, tmp_path: Path, held: Held, clock: ManualClock
) -> None:
    definition = usual_saga(respond_after="one")
    async with opened(tmp_path, definition, held, clock) as runtime:
        await runtime.accept(acceptance(definition))
        waiting = [asyncio.create_task(runtime.wait(SAGA_ID, LONG_S)) for _ in range(3)]
        await held.reached.wait()
        held.go.set()
        assert await asyncio.gather(*waiting) == [SUCCESS] * 3
        if opened is RUNTIMES["restate"]:  # the row is in its journal, and is shown a moment later
            await until_answered(runtime)
        found = await runtime.find(SAGA_ID)
        assert found
        assert fold(found.rows).result == SUCCESS, "no result leaves before its row is there"
        await over(runtime)
        assert await runtime.wait(SAGA_ID, 0.0) == SUCCESS
        assert (await runtime.accept(acceptance(definition))).result == SUCCESS
    async with opened(tmp_path, definition, held, clock) as runtime:
        assert await runtime.wait(SAGA_ID, 0.0) == SUCCESS


async def until_answered(runtime: SagaRuntime) -> None:
    found = await eventually_async(
        "the answer's row",
        lambda: runtime.find(SAGA_ID),
        lambda found: bool(found and fold(found.rows).result),
    )
    assert found


async def test_a_refusal_is_a_result_before_it_is_undone(
    opened: RuntimeFactory, tmp_path: Path, clock: ManualClock
) -> None:
    definition = usual_saga(respond_after="two")
    world = World(clock, faults={("one", COMPENSATION): ["down"] * 3}, declines=frozenset({"two"}))
    async with opened(tmp_path, definition, world, clock) as runtime:
        await runtime.accept(acceptance(definition))
        result = await runtime.wait(SAGA_ID, LONG_S)
        assert isinstance(result, Unsuccessful)
        assert (result.failure.reason, result.failure.step, result.is_refused) == ("SOLD_OUT", "two", True)
        assert await over(runtime) is SagaStatus.COMPENSATED
        assert (await runtime.accept(acceptance(definition))).result == result


async def test_nobody_waits_longer_than_they_said_nor_past_closing(
    opened: RuntimeFactory, tmp_path: Path, held: Held, clock: ManualClock
) -> None:
    definition = usual_saga()
    closing: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    async with opened(tmp_path, definition, held, clock) as runtime:
        await runtime.accept(acceptance(definition))
        assert await runtime.wait(SAGA_ID, 0.01) is None
        waiting = asyncio.create_task(runtime.wait(SAGA_ID, LONG_S, closing))
        await asyncio.sleep(0)
        closing.set_result(None)
        assert await waiting is None
        assert await runtime.wait("nobody", LONG_S) is None, "there is none to wait for"
        held.go.set()


# describe, find, search, counts


async def test_a_saga_is_shown_as_it_stands(
    opened: RuntimeFactory, tmp_path: Path, held: Held, clock: ManualClock
) -> None:
    definition = usual_saga()
    async with opened(tmp_path, definition, held, clock) as runtime:
        assert await runtime.describe(SAGA_ID) is None
        assert await runtime.find(SAGA_ID) is None
        await runtime.accept(acceptance(definition))
        view = await until(runtime, lambda view: view.steps[0].status is StepStatus.RUNNING)
        assert (view.status, view.caller, view.waiting_for) == (SagaStatus.RUNNING, "anonymous", "")
        held.go.set()
        assert await over(runtime) is SagaStatus.COMPLETED
        view = await runtime.describe(SAGA_ID)
        assert view
        assert [each.status for each in view.steps] == [StepStatus.DONE] * 4
        found = await runtime.find(SAGA_ID)
        assert found
        assert isinstance(found.rows[-1], Ended)


async def test_sagas_are_found_newest_first_and_a_page_at_a_time(
    opened: RuntimeFactory, tmp_path: Path, clock: ManualClock
) -> None:
    definition = usual_saga()
    world = World(clock, faults={("two", ACTION): [FORGOTTEN]})  # the first one gets stuck
    ids = [f"saga-{number}" for number in range(5)]
    async with opened(tmp_path, definition, world, clock) as runtime:
        for saga_id in ids:
            await runtime.accept(acceptance(definition, saga_id))
            await over(runtime, saga_id)
            clock.advance(1.0)
        everything = SagaQuery(statuses=tuple(SagaStatus))
        assert await search(runtime, everything) == ids[::-1]
        assert await search(runtime, SagaQuery()) == ids[:1], "open ones, unless others are asked for"
        assert await search(runtime, replace(everything, statuses=(SagaStatus.COMPLETED,))) == ids[:0:-1]
        assert await search(runtime, replace(everything, saga="another")) == []
        first = readable(await runtime.search(replace(everything, limit=2)))
        assert [each.accepted.saga_id for each in first] == ids[:2:-1]
        rest = replace(everything, before=first[-1].cursor)
        assert await search(runtime, rest) == ids[2::-1]
        oldest = await runtime.find(ids[0])
        assert oldest
        old = replace(everything, started_before_ms=oldest.accepted.at_ms)
        assert await search(runtime, old) == ids[:1]
        ended = replace(everything, ended_since_ms=oldest.accepted.at_ms)
        assert await search(runtime, ended) == ids[:0:-1]
        assert await search(runtime, replace(ended, ended_since_ms=2**60)) == []


async def test_sagas_are_counted_by_how_they_stand(
    opened: RuntimeFactory, tmp_path: Path, clock: ManualClock
) -> None:
    definition = usual_saga()
    world = World(clock, faults={("two", ACTION): [FORGOTTEN]})
    async with opened(tmp_path, definition, world, clock) as runtime:
        assert list(await runtime.open_counts()) == []
        for saga_id in ("stuck", "fine", "fine-too"):
            await runtime.accept(acceptance(definition, saga_id))
            await over(runtime, saga_id)
        (counted,) = await runtime.open_counts()
        assert (counted.saga, counted.version, counted.digest) == ("place", 1, "d1")
        assert (counted.status, counted.count) == (SagaStatus.STUCK, 1)
        assert dict(await runtime.ended_counts()) == {("place", SagaStatus.COMPLETED): 2}
        disk = runtime.disk_use()
        assert disk is None or (disk.size_bytes > 0 and not disk.is_full)
        assert runtime.definitions.names == ["place"]


# command, in each state


async def test_a_saga_that_waits_is_cancelled(opened: RuntimeFactory, tmp_path: Path) -> None:
    definition, clock = usual_saga(), PatientClock()
    world = World(clock, faults={("two", ACTION): ["lost", "down"]})
    async with opened(tmp_path, definition, world, clock) as runtime:
        await runtime.accept(acceptance(definition))
        await clock.waits.wait()
        await runtime.command(SAGA_ID, CANCEL)
        found = await runtime.find(SAGA_ID)
        assert found
        cancelled = [row for row in found.rows if isinstance(row, Cancelled)]
        assert [(row.by, row.note) for row in cancelled] == [("ann", "wrong order")], "durable by now"
        assert await over(runtime) is SagaStatus.COMPENSATED
    assert world.done(COMPENSATION) == ["two", "one"]


async def test_a_saga_that_is_stuck_on_its_way_forward_is_retried(
    opened: RuntimeFactory, tmp_path: Path, clock: ManualClock
) -> None:
    definition = usual_saga()
    world = World(clock, faults={("two", ACTION): [FORGOTTEN]})
    async with opened(tmp_path, definition, world, clock) as runtime:
        await runtime.accept(acceptance(definition))
        assert await over(runtime) is SagaStatus.STUCK
        with pytest.raises(CommandRejected, match="`cancel` the saga"):
            await runtime.command(SAGA_ID, RESOLVE)
        await runtime.command(SAGA_ID, RETRY)
        assert await over(runtime) is SagaStatus.COMPLETED


async def test_a_saga_that_is_stuck_on_its_way_back_is_resolved(
    opened: RuntimeFactory, tmp_path: Path, clock: ManualClock
) -> None:
    definition = usual_saga()
    world = World(clock, faults={("two", COMPENSATION): [FORGOTTEN] * 9}, declines=frozenset({"pivot"}))
    async with opened(tmp_path, definition, world, clock) as runtime:
        await runtime.accept(acceptance(definition))
        assert await over(runtime) is SagaStatus.STUCK
        with pytest.raises(CommandRejected, match="turns back"):
            await runtime.command(SAGA_ID, CANCEL)
    async with opened(tmp_path, definition, world, clock) as runtime:
        await runtime.command(SAGA_ID, RESOLVE)
        assert await over(runtime) is SagaStatus.COMPENSATED
        found = await runtime.find(SAGA_ID)
        assert found
        assert [row.step for row in found.rows if isinstance(row, Resolved)] == ["two"]
    assert world.done(COMPENSATION) == ["one"]


@pytest.mark.parametrize("command", [RETRY, CANCEL, RESOLVE], ids=lambda command: command.act)
async def test_a_saga_that_is_over_takes_no_command(
    opened: RuntimeFactory, tmp_path: Path, world: World, clock: ManualClock, command: OperatorCommand
) -> None:
    definition = usual_saga()
    async with opened(tmp_path, definition, world, clock) as runtime:
        await runtime.accept(acceptance(definition))
        await over(runtime)
        before = await runtime.find(SAGA_ID)
        with pytest.raises(CommandRejected, match="over"):
            await runtime.command(SAGA_ID, command)
        assert await runtime.find(SAGA_ID) == before
        with pytest.raises(UnknownSaga, match="nobody"):
            await runtime.command("nobody", command)


async def test_a_saga_whose_definition_is_missing_takes_no_command_and_says_what_to_deploy(
    opened: RuntimeFactory, tmp_path: Path, held: Held, clock: ManualClock
) -> None:
    definition = usual_saga()
    async with opened(tmp_path, definition, held, clock, grace_s=0.0) as runtime:
        await runtime.accept(acceptance(definition))
        await held.reached.wait()
    held.go.set()
    newer = usual_saga(version=2)
    async with opened(tmp_path, newer, held, clock) as runtime:
        view = await runtime.describe(SAGA_ID)
        assert view
        assert (view.status, "place version 1" in view.waiting_for) == (SagaStatus.RUNNING, True)
        with pytest.raises(CommandRejected, match="place version 1"):
            await runtime.command(SAGA_ID, CANCEL)
        started = await runtime.accept(acceptance(newer))
        assert (started.is_new, started.status, started.result) == (False, SagaStatus.RUNNING, None)
        assert await runtime.wait(SAGA_ID, LONG_S) is None, "nothing ends that wait but a deployment"
    async with opened(tmp_path, definition, held, clock) as runtime:
        assert await over(runtime) is SagaStatus.COMPLETED


async def test_of_two_operators_at_once_one_is_refused(
    opened: RuntimeFactory, tmp_path: Path, clock: ManualClock
) -> None:
    definition = usual_saga()
    world = World(clock, faults={("two", ACTION): [FORGOTTEN]})
    async with opened(tmp_path, definition, world, clock) as runtime:
        await runtime.accept(acceptance(definition))
        assert await over(runtime) is SagaStatus.STUCK
        told = await asyncio.gather(
            runtime.command(SAGA_ID, RETRY), runtime.command(SAGA_ID, RETRY), return_exceptions=True
        )
        assert sorted(type(each).__name__ for each in told) == ["CommandRejected", "NoneType"]
        assert await over(runtime) is SagaStatus.COMPLETED


# overload, stop, restart


async def test_beyond_its_limit_it_takes_nothing_new_on_and_finds_what_it_has(
    opened: RuntimeFactory, tmp_path: Path, held: Held, clock: ManualClock
) -> None:
    definition = usual_saga()
    async with opened(tmp_path, definition, held, clock, max_running=2) as runtime:
        for saga_id in ("first", "second"):
            assert (await runtime.accept(acceptance(definition, saga_id))).is_new
        with pytest.raises(Overloaded) as refused:
            await runtime.accept(acceptance(definition, "third"))
        assert refused.value.retry_after_s > 0
        assert await runtime.find("third") is None, "nothing was accepted"
        assert not (await runtime.accept(acceptance(definition, "first"))).is_new
        held.go.set()
        for saga_id in ("first", "second"):
            await over(runtime, saga_id)
        assert not (await runtime.accept(acceptance(definition, "first"))).is_new
        third = await eventually_async(
            "the place of a saga that is over",
            lambda: runtime.accept(acceptance(definition, "third")),
            despite=(Overloaded,),
        )
        assert third.is_new


async def test_once_stopping_it_begins_nothing_and_ends_every_wait(
    opened: RuntimeFactory, tmp_path: Path, held: Held, clock: ManualClock
) -> None:
    definition = usual_saga()
    async with opened(tmp_path, definition, held, clock) as runtime:
        assert await runtime.check() == ""
        await runtime.accept(acceptance(definition))
        await held.reached.wait()
        waiting = asyncio.create_task(runtime.wait(SAGA_ID, LONG_S))
        runtime.stop_accepting()
        runtime.stop_accepting()
        assert "stopping" in await runtime.check()
        with pytest.raises(Overloaded):
            await runtime.accept(acceptance(definition, "another"))
        assert await runtime.find("another") is None
        assert not (await runtime.accept(acceptance(definition))).is_new, "a replay is found"
        held.go.set()
        assert await waiting is None
    assert held.done(ACTION) == ["one"], "the call under way went on, no other began"
    async with opened(tmp_path, definition, held, clock) as runtime:
        assert await over(runtime) is SagaStatus.COMPLETED
    assert held.done(ACTION) == ["one", "two", "pivot", "after"]
    assert [call.step for call, _, _ in held.calls].count("one") == 1


async def test_a_command_that_comes_while_it_stops_is_refused_and_changes_nothing(
    opened: RuntimeFactory, tmp_path: Path, clock: ManualClock
) -> None:
    definition = usual_saga()
    world = World(clock, faults={("two", ACTION): [FORGOTTEN]})
    async with opened(tmp_path, definition, world, clock) as runtime:
        await runtime.accept(acceptance(definition))
        assert await over(runtime) is SagaStatus.STUCK
        runtime.stop_accepting()
        before = await runtime.find(SAGA_ID)
        with pytest.raises(CommandRejected):
            await runtime.command(SAGA_ID, RETRY)
        assert await runtime.find(SAGA_ID) == before


async def test_a_repeat_for_a_saga_that_is_stuck_takes_no_place_of_a_new_one(
    opened: RuntimeFactory, tmp_path: Path, clock: ManualClock
) -> None:
    definition = usual_saga()
    world = World(clock, faults={("two", ACTION): [FORGOTTEN]})
    async with opened(tmp_path, definition, world, clock) as runtime:
        await runtime.accept(acceptance(definition))
        assert await over(runtime) is SagaStatus.STUCK
        calm = runtime.room()
        assert not (await runtime.accept(acceptance(definition))).is_new
        await over(runtime)
        clock.advance(60)
        assert runtime.room() == calm
        assert (await runtime.accept(acceptance(definition, "another"))).is_new


async def test_what_was_under_way_goes_on_after_a_restart_with_each_effect_once(
    opened: RuntimeFactory, tmp_path: Path, held: Held, clock: ManualClock
) -> None:
    definition = saga(step("one"), step("pivot", StepKind.PIVOT))
    ids = [f"saga-{number}" for number in range(20)]
    async with opened(tmp_path, definition, held, clock, grace_s=0.0) as runtime:
        await asyncio.gather(*(runtime.accept(acceptance(definition, each)) for each in ids))
        await held.reached.wait()
    held.go.set()
    async with opened(tmp_path, definition, held, clock) as runtime:
        assert {await over(runtime, each) for each in ids} == {SagaStatus.COMPLETED}
        assert [await runtime.wait(each, 0.0) for each in ids] == [SUCCESS] * 20
    assert sorted((effect.saga_id, effect.step) for effect in held.effects) == sorted(
        (each, name) for each in ids for name in ("one", "pivot")
    )


# of_caller


async def test_the_sagas_of_a_caller_come_by_pages_newest_first(
    opened: RuntimeFactory, tmp_path: Path, world: World, clock: ManualClock
) -> None:
    definition = usual_saga()
    callers = ["ann", "bob", "ann", "anonymous", "ann"]
    ids = [saga_id("p", "c", "/t", str(number)) for number in range(len(callers))]
    async with opened(tmp_path, definition, world, clock) as runtime:
        for each, caller in zip(ids, callers, strict=True):
            await runtime.accept(replace(acceptance(definition), saga_id=each, caller=caller))
            assert await over(runtime, each) is SagaStatus.COMPLETED
        first = await runtime.of_caller(CallerQuery("ann", limit=2))
        assert ([saga.saga_id for saga in first.sagas], first.last) == ([ids[4], ids[2]], ids[2])
        rest = await runtime.of_caller(CallerQuery("ann", after=first.last, limit=2))
        assert ([saga.saga_id for saga in rest.sagas], rest.last) == ([ids[0]], "")
        assert [(saga.saga, saga.status) for saga in rest.sagas] == [(definition.name, "COMPLETED")]
        none = await runtime.of_caller(CallerQuery("ann", frozenset({SagaStatus.STUCK})))
        assert none == SagaPage([], "")
        assert await runtime.of_caller(CallerQuery("anonymous")) == SagaPage([], "")
        for foreign in (ids[1], "none"):
            with pytest.raises(UnknownSaga):
                await runtime.of_caller(CallerQuery("ann", after=foreign))
