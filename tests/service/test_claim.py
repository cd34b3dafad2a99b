"""A claim: the row by which a saga owns its id at a service before it has an effect anywhere."""

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from grpclib.const import Status as Code
from ledger import PUT, Ledger, RunningLedger, database_in, running
from small_mesh import ManualClock, saga, saga_call
from waiting import LIMIT_S

from sagagen.runtime.model.definition import Direction, StepKind
from sagagen.runtime.rpc.claim import CLAIM, CLAIM_PATH
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.metadata import REPLAYED, SagaCall
from sagagen.runtime.rpc.refusals import UNKNOWN_CALL, BarrierRefusal
from sagagen.runtime.rpc.transport import Reply

A_MINUTE_MS = 60_000
CLAIM_CALL = saga_call(CLAIM)


async def claim(ledger: RunningLedger, call: SagaCall = CLAIM_CALL, request: bytes = b"input") -> Reply:
    return await ledger.host.handle(CLAIM_PATH, request, call.to_metadata(), LIMIT_S)


async def refused(ledger: RunningLedger, call: SagaCall, path: str = CLAIM_PATH) -> RpcError:
    with pytest.raises(RpcError) as raised:
        await ledger.host.handle(path, b"input", call.to_metadata(), LIMIT_S)
    return raised.value


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncGenerator[RunningLedger]:
    handlers = Ledger()
    async with running(tmp_path, handlers, sagas=[saga()]) as host:
        yield RunningLedger(host, handlers, database_in(tmp_path))


async def test_a_claim_is_a_row_and_nothing_else(ledger: RunningLedger) -> None:
    assert await claim(ledger) == Reply(b"")
    assert ledger.query("SELECT saga, step, direction, run, state, outcome FROM sagagen_barrier") == [
        ("saga-1", "~claim", "action", "run-1", "DONE", b"")
    ]
    assert await ledger.total() == 0


async def test_of_two_runs_that_claim_at_once_one_has_the_saga(ledger: RunningLedger) -> None:
    async def outcome(run: str) -> str:
        try:
            await claim(ledger, saga_call(CLAIM, run=run))
        except RpcError as error:
            return error.reason
        return run

    found = await asyncio.gather(*(outcome(run) for run in ("one", "two", "three") * 5))
    ((owner,),) = ledger.query("SELECT run FROM sagagen_barrier")
    assert sorted(found) == sorted([owner] * 5 + [BarrierRefusal.OTHER_RUN] * 10)


async def test_a_claim_is_known_after_a_restart_and_forgotten_with_its_saga(tmp_path: Path) -> None:
    clock = ManualClock(100 * 24 * 60 * A_MINUTE_MS)
    fresh = saga_call(CLAIM, started_ms=clock.ms - A_MINUTE_MS)
    old = saga_call(CLAIM, saga="old", started_ms=clock.ms - 40 * 24 * 60 * A_MINUTE_MS)
    async with running(tmp_path, Ledger(), clock=clock) as host:
        ledger = RunningLedger(host, Ledger(), database_in(tmp_path))
        await claim(ledger, fresh)
        await claim(ledger, old)
        await host._store.purge()  # pyright: ignore[reportPrivateUsage]
        assert (await refused(ledger, old)).reason == BarrierRefusal.FORGOTTEN
    async with running(tmp_path, Ledger(), clock=clock) as host:
        ledger = RunningLedger(host, Ledger(), database_in(tmp_path))
        assert (await refused(ledger, old)).reason == BarrierRefusal.FORGOTTEN
        assert (await claim(ledger, fresh)).trailers == {REPLAYED: "true"}
        assert ledger.query("SELECT saga FROM sagagen_barrier") == [("saga-1",)]


@pytest.mark.parametrize(
    ("path", "call"),
    [
        (CLAIM_PATH, saga_call(CLAIM, Direction.COMPENSATION)),
        (CLAIM_PATH, saga_call(CLAIM, kind=StepKind.PIVOT)),
        (CLAIM_PATH, saga_call("put")),
        (PUT.path, saga_call(CLAIM)),
    ],
)
async def test_nothing_else_is_a_claim(ledger: RunningLedger, path: str, call: SagaCall) -> None:
    """A compensation of it would shut the saga out of its own claim."""
    error = await refused(ledger, call, path)
    assert (error.code, error.reason) == (Code.UNAVAILABLE, UNKNOWN_CALL)
    assert ledger.states() == {}


@pytest.mark.parametrize("metadata", [{}, {"idempotency-key": "direct"}])
async def test_only_a_saga_claims(ledger: RunningLedger, metadata: dict[str, str]) -> None:
    with pytest.raises(RpcError) as raised:
        await ledger.host.handle(CLAIM_PATH, b"", metadata, LIMIT_S)
    assert raised.value.code is Code.INVALID_ARGUMENT
    assert ledger.states() == {}
