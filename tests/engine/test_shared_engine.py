"""Two gateways on one saga log in PostgreSQL: whichever is asked, and whichever dies, each saga is driven by one."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from engine_world import World
from grpclib.const import Status as Code
from shared_gateways import LONG_S, Gateway, Slow, end_life, gateway, is_idle, two
from shared_log import log_url, shared_log
from small_mesh import SAGA_ID, ManualClock, acceptance, method, saga, step, usual_saga
from test_structure import WAIT, delivery, event
from waiting import eventually_async

from sagagen.runtime.engine.port import CANCEL, Delivery, NotDelivered, Refusal, SagaQuery, TooManyRunning
from sagagen.runtime.model.definition import Cancel, Direction, StepKind
from sagagen.runtime.postgres.connection import connect
from sagagen.runtime.postgres_log import schema as sql
from sagagen.runtime.postgres_log.errors import Superseded
from sagagen.runtime.rpc.errors import DOMAIN, RpcError
from sagagen.runtime.saga.commands import Act, CommandRejected, OperatorCommand
from sagagen.runtime.saga.events import Resumed, SagaStatus
from sagagen.runtime.saga.journal import JournalUnavailable
from sagagen.runtime.saga.result import Succeeded

ACTION = Direction.ACTION
FORGOTTEN = RpcError(Code.FAILED_PRECONDITION, "forgotten", reason="FORGOTTEN", domain=DOMAIN)
WAITING = saga(
    replace(WAIT, within_s=3600.0),
    step("pivot", StepKind.PIVOT),
    events=(event(),),
    cancel=Cancel(method("Cancel"), lambda scope: scope.event.value, "CHANGED_MIND"),
    deadline_s=7200.0,
    respond_after="completion",
)
CUTS = 5


@pytest.fixture
def world() -> World:
    return World(ManualClock())


@pytest.fixture
def slow() -> Slow:
    return Slow(ManualClock())


async def test_one_key_at_two_gateways_at_once_is_one_saga(tmp_path: Path, world: World) -> None:
    definition = usual_saga()
    async with two(tmp_path, definition, world) as (one, other):
        asked = [acceptance(definition, f"saga-{number}") for number in range(30)]
        started = await asyncio.gather(
            *(gateway.engine.accept(each) for each in asked for gateway in (one, other))
        )
        assert sum(each.is_new for each in started) == 30
        for each in asked:
            assert await other.ends(each.saga_id) is SagaStatus.COMPLETED
        assert not (await one.engine.accept(asked[0])).is_new
    assert len(world.effects) == len(set(world.effects)) == 4 * 30


async def test_the_result_is_the_same_at_the_other_gateway(tmp_path: Path, slow: Slow) -> None:
    definition = usual_saga()
    async with two(tmp_path, definition, slow) as (one, other):
        await one.engine.accept(acceptance(definition))
        waiting = [asyncio.create_task(each.engine.wait(SAGA_ID, LONG_S)) for each in (one, other)]
        again = await other.engine.accept(acceptance(definition))
        assert (again.is_new, again.status, again.result) == (False, SagaStatus.RUNNING, None)
        assert await other.engine.wait(SAGA_ID, 0.01) is None
        closing = asyncio.get_running_loop().create_future()
        closing.set_result(None)
        assert await other.engine.wait(SAGA_ID, LONG_S, closing) is None
        slow.go.set()
        here, there = await asyncio.gather(*waiting)
        assert isinstance(here, Succeeded)
        assert here == there == (await other.engine.accept(acceptance(definition))).result
        shown = [await each.engine.describe(SAGA_ID) for each in (one, other)]
        assert shown[0] == shown[1]


async def test_an_event_reaches_its_saga_through_the_other_gateway(tmp_path: Path, world: World) -> None:
    async with two(tmp_path, WAITING, world) as (one, other):
        await one.engine.accept(acceptance(WAITING))
        taken = await other.engine.deliver(delivery())
        assert taken.is_new
        assert not (await other.engine.deliver(delivery())).is_new
        assert taken.input == acceptance(WAITING).input
        with pytest.raises(NotDelivered) as refused:
            await other.engine.deliver(delivery(value="no"))
        assert refused.value.refusal is Refusal.KEY_REUSED
        assert await one.ends() is SagaStatus.COMPLETED
        with pytest.raises(NotDelivered) as refused:
            await other.engine.deliver(delivery(key="k2"))
        assert refused.value.refusal is Refusal.SAGA_OVER


async def test_a_client_cancels_through_the_other_gateway(tmp_path: Path, world: World) -> None:
    cancel = Delivery("place", SAGA_ID, CANCEL, "k9", b"f", b"", "anonymous")
    async with two(tmp_path, WAITING, world) as (one, other):
        await one.engine.accept(acceptance(WAITING))
        with pytest.raises(NotDelivered) as refused:
            await other.engine.deliver(replace(cancel, caller="eve"))
        assert refused.value.refusal is Refusal.NOT_ALLOWED
        assert (await other.engine.deliver(cancel)).is_new
        assert await one.ends() is SagaStatus.COMPENSATED


async def test_two_operators_at_two_gateways_do_a_thing_once(tmp_path: Path) -> None:
    definition = usual_saga()
    world = World(ManualClock(), faults={("two", ACTION): [FORGOTTEN]})
    retries = [OperatorCommand(Act.RETRY, by, "it is back") for by in ("ann", "bob")]
    async with two(tmp_path, definition, world) as (one, other):
        await one.engine.accept(acceptance(definition))
        await one.stuck()
        told = await asyncio.gather(
            one.engine.command(SAGA_ID, retries[0]),
            other.engine.command(SAGA_ID, retries[1]),
            return_exceptions=True,
        )
        assert sorted(type(each).__name__ for each in told) == ["CommandRejected", "NoneType"]
        assert await other.ends() is SagaStatus.COMPLETED
        with pytest.raises(CommandRejected, match="over"):
            await other.engine.command(SAGA_ID, retries[0])


async def test_what_a_gateway_leaves_goes_on_at_the_other_at_once(tmp_path: Path, slow: Slow) -> None:
    """Its lease would run for a minute: it is given back."""
    definition = usual_saga()
    async with gateway(tmp_path, definition, slow) as other:
        async with gateway(tmp_path, definition, slow, grace_s=0.0) as one:
            await one.engine.accept(acceptance(definition))
            await slow.reached.wait()
        slow.go.set()
        async with asyncio.timeout(LONG_S / 2):
            assert await other.ends() is SagaStatus.COMPLETED
    assert len(slow.effects) == len(set(slow.effects)) == 4


async def test_a_saga_that_waits_changes_hands_and_takes_its_event(tmp_path: Path, world: World) -> None:
    async with gateway(tmp_path, WAITING, world) as other:
        async with gateway(tmp_path, WAITING, world) as one:
            await one.engine.accept(acceptance(WAITING))
            await eventually_async("it is parked", lambda: is_idle(one.engine))
        await eventually_async("it changes hands", lambda: _is_own(other, SAGA_ID))
        assert await other.log.waiting_count() == 1
        assert (await other.engine.deliver(delivery())).is_new
        assert await other.ends() is SagaStatus.COMPLETED


async def _is_own(gateway: Gateway, saga_id: str) -> bool:
    return not (await gateway.saga(saga_id)).is_elsewhere


async def test_a_gateway_that_was_taken_for_dead_writes_nothing(tmp_path: Path, slow: Slow) -> None:
    """It was stopped beyond its lease, as by SIGSTOP, and goes on: its call and its rows come too late."""
    definition = usual_saga()
    async with two(tmp_path, definition, slow, lease_s=1.0) as (one, other):
        await one.engine.accept(acceptance(definition))
        await slow.reached.wait()
        before = await one.saga()
        one.freeze()
        await eventually_async("the other one takes it over", lambda: _is_own(other, SAGA_ID))
        with pytest.raises(Superseded):
            await one.log.append(before.ref, [Resumed(at_ms=1, span_id="late")], None)
        assert not one.log.has_lease
        slow.go.set()
        assert await other.ends() is SagaStatus.COMPLETED
        rows = (await other.saga()).rows
        assert "late" not in {row.span_id for row in rows}
        assert [type(row).__name__ for row in rows].count("Resumed") == 1
    assert len(slow.effects) == len(set(slow.effects)) == 4


async def test_a_gateway_that_was_taken_for_dead_begins_again(tmp_path: Path, slow: Slow) -> None:
    definition = usual_saga()
    async with two(tmp_path, definition, slow) as (one, other):
        await one.engine.accept(acceptance(definition))
        await slow.reached.wait()
        await end_life(tmp_path, one)
        await eventually_async("the other one takes it over", lambda: _is_own(other, SAGA_ID))
        slow.go.set()
        with pytest.raises(Superseded):
            await one.engine.accept(acceptance(definition, "late"))
        await eventually_async("it begins again", lambda: _has_lease(one))
        assert (await one.engine.accept(acceptance(definition, "later"))).is_new
        assert {await other.ends(), await one.ends("later")} == {SagaStatus.COMPLETED}
        assert len(await one.engine.search(SagaQuery(statuses=tuple(SagaStatus)))) == 2
    assert len(slow.effects) == len(set(slow.effects)) == 8


async def _has_lease(gateway: Gateway) -> bool:
    return gateway.log.has_lease


async def test_a_write_that_comes_after_its_number_was_barred_writes_nothing(tmp_path: Path) -> None:
    """Its connection was lost, and the server got it all the same, later."""
    async with shared_log(tmp_path) as log:
        connection = await connect(log_url(tmp_path), "test")
        nothing: list[list[object]] = [[] for _ in range(30)]
        write = (sql.WRITE, log.life, 7, 0, 60.0, 1, *nothing, "[]", list[str]())
        assert await connection.fetchval(sql.FATE, log.life, 7) < 7, "it is told that nothing was written"
        assert await connection.fetchval(*write) == 0
        assert await connection.fetchval(*write[:2], 8, *write[3:]) == 1
        assert await connection.fetchval(sql.FATE, log.life, 8) == 8, "this one was"
        await connection.close()


async def test_connections_that_are_cut_lose_and_double_no_row(tmp_path: Path, world: World) -> None:
    definition = usual_saga()
    ids = [f"saga-{number}" for number in range(60)]
    async with two(tmp_path, definition, world) as (one, other), AsyncExitStack() as stack:
        cutting = asyncio.create_task(_cut_again_and_again(tmp_path))
        stack.callback(cutting.cancel)
        for number, saga_id in enumerate(ids):
            engine, asked = (one, other)[number % 2].engine, acceptance(definition, saga_id)
            await eventually_async(
                "it is accepted", partial(engine.accept, asked), despite=(JournalUnavailable,)
            )
        for saga_id in ids:
            assert await one.ends(saga_id) is SagaStatus.COMPLETED
            ended = await eventually_async(
                "it can be read", partial(one.saga, saga_id), despite=(JournalUnavailable,)
            )
            kinds = [type(row).__name__ for row in ended.rows if not isinstance(row, Resumed)]
            assert kinds == ["Accepted", "Done", "Done", "Done", "Done", "Ended"]
    assert len(world.effects) == len(set(world.effects)) == 4 * len(ids)


async def _cut_again_and_again(folder: Path) -> None:
    connection = await connect(log_url(folder), "test")
    cut = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    try:
        for _ in range(CUTS):  # not too often: whoever is cut off makes its connections anew
            await connection.execute(cut)
            await asyncio.sleep(0.5)
    finally:
        connection.terminate()


async def test_a_caller_has_its_limit_at_all_gateways_together(tmp_path: Path, slow: Slow) -> None:
    definition = usual_saga()
    async with two(tmp_path, definition, slow, running_per_caller=2) as (one, other):
        asked = [replace(acceptance(definition, f"saga-{number}"), caller="ann") for number in range(3)]
        await one.engine.accept(asked[0])
        await other.engine.accept(asked[1])
        with pytest.raises(TooManyRunning):
            await one.engine.accept(asked[2])
        assert not (await one.engine.accept(asked[1])).is_new, "a repeat is found"
        slow.go.set()
        for each in asked[:2]:
            await one.ends(each.saga_id)
        assert (await one.engine.accept(asked[2])).is_new


async def test_whoever_comes_while_a_gateway_lets_go_is_not_kept_waiting(tmp_path: Path, slow: Slow) -> None:
    """A saga's task that is cancelled before its first step answers nobody by itself."""
    definition = usual_saga()
    async with gateway(tmp_path, definition, slow) as one:
        coming = [
            asyncio.ensure_future(one.engine.accept(acceptance(definition, f"saga-{number}")))
            for number in range(3)
        ]
        await asyncio.sleep(0)  # they are under way, and their sagas' tasks have not begun
        async with asyncio.timeout(LONG_S):
            await one.engine._let_go()  # pyright: ignore[reportPrivateUsage]
            told = await asyncio.gather(*coming, return_exceptions=True)
        assert {type(each) for each in told} == {JournalUnavailable}
        assert one.engine.running == 0
