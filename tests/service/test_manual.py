"""Methods of `transaction: manual`: a third party is called with no transaction open; and what its attempts leave."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest
from grpclib.const import Status as Code
from ledger import (
    ACT,
    CHARGE,
    PUT,
    REFUND,
    UNDO,
    Body,
    Ledger,
    PutRequest,
    PutResponse,
    RunningLedger,
    Turnstile,
    charge,
    database_in,
    delete,
    insert,
    put,
    refund,
    running,
)
from small_mesh import LATER_MS, ManualClock, saga_call
from structlog.typing import EventDict
from waiting import LIMIT_S

from sagagen.runtime.rpc.errors import Declined, RpcError
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.rpc.transport import Reply
from sagagen.runtime.service.barrier.calls import BarredCall, CallResult, Handled, unavailable
from sagagen.runtime.service.call import CallContext, NoTransaction
from sagagen.runtime.service.store import Handle, ServiceStore, Turn


@dataclass
class ThirdParty:
    """Somebody's payment service: it acts at once, and answers when the test lets it."""

    keys: list[str] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    answers: asyncio.Event = field(default_factory=asyncio.Event)

    async def charge(self, request: PutRequest, call: CallContext) -> PutResponse:
        self.keys.append(call.idempotency_key)
        self.asked.set()
        await self.answers.wait()
        return await charge(request, call)

    async def fail(self, request: PutRequest, call: CallContext) -> PutResponse:
        self.keys.append(call.idempotency_key)
        raise RpcError(Code.UNAVAILABLE, "no line to the bank")


@dataclass
class Bank(RunningLedger):
    third: ThirdParty

    async def charge(self, call: SagaCall = ACT, request: bytes = b"", timeout_s: float = LIMIT_S) -> Reply:
        return await self.host.handle(CHARGE.path, request or put(), call.to_metadata(), timeout_s)

    def standing(self) -> dict[str, str]:
        """Of the one step that there is, by direction."""
        return {direction: state for (_, direction), state in self.states().items()}

    def charged(self) -> int:
        return self.query("SELECT coalesce(sum(amount), 0) FROM entries")[0][0]


@asynccontextmanager
async def opened(
    folder: Path, *, clock: ManualClock | None = None, drain_s: float = 5.0, hold_limit_s: float = 60.0
) -> AsyncGenerator[Bank]:
    ledger, third = Ledger(), ThirdParty()
    ledger.on_charge = third.charge
    async with running(folder, ledger, clock=clock, drain_s=drain_s, hold_limit_s=hold_limit_s) as host:
        yield Bank(host, ledger, database_in(folder), third)


@pytest.fixture
async def bank(tmp_path: Path) -> AsyncGenerator[Bank]:
    async with opened(tmp_path) as bank:
        yield bank


async def die_in_attempt(folder: Path, call: SagaCall = ACT, clock: ManualClock | None = None) -> None:
    """Leave what a process leaves that ends while its third party is asked."""
    async with opened(folder, clock=clock, drain_s=0.0) as bank:
        calling = asyncio.create_task(bank.charge(call))
        await bank.third.asked.wait()
    with pytest.raises(RpcError):
        await calling


async def test_pending_is_committed_before_and_done_with_the_local_effects(bank: Bank):
    calling = asyncio.create_task(bank.charge())
    await bank.third.asked.wait()
    assert bank.standing() == {"action": "PENDING"}
    bank.third.answers.set()
    assert PutResponse.parse((await calling).response).total == 1
    assert (bank.standing(), bank.charged()) == ({"action": "DONE"}, 1)


async def test_other_calls_pass_while_the_third_party_is_asked(bank: Bank):
    calling = asyncio.create_task(bank.charge())
    await bank.third.asked.wait()
    await bank.host.handle(PUT.path, put("b"), saga_call(saga="saga-2").to_metadata(), 10.0)
    bank.third.answers.set()
    await calling
    assert bank.charged() == 2


async def test_repeats_join_the_attempt_that_is_under_way(bank: Bank):
    calling = [asyncio.create_task(bank.charge(saga_call(attempt=attempt))) for attempt in (1, 2, 3)]
    await bank.third.asked.wait()
    calling.append(asyncio.create_task(bank.charge(saga_call(attempt=4))))
    await asyncio.sleep(0)
    bank.third.answers.set()
    assert len({reply.response for reply in await asyncio.gather(*calling)}) == 1
    assert (bank.third.keys, bank.charged()) == ([ACT.idempotency_key], 1)


async def test_an_attempt_outlives_the_client_that_began_it(bank: Bank):
    calling = asyncio.create_task(bank.charge())
    await bank.third.asked.wait()
    calling.cancel()
    repeat = asyncio.create_task(bank.charge(saga_call(attempt=2)))
    bank.third.answers.set()
    assert PutResponse.parse((await repeat).response).total == 1
    assert len(bank.third.keys) == 1


async def test_an_attempt_does_not_outlive_its_not_after(tmp_path: Path):
    clock = ManualClock(1_000_000)
    async with opened(tmp_path, clock=clock) as bank:
        with pytest.raises(RpcError) as caught:
            await bank.charge(saga_call(not_after_ms=clock.ms + 50))
        assert caught.value.code is Code.DEADLINE_EXCEEDED
        assert (bank.standing(), bank.charged()) == ({"action": "PENDING"}, 0)


async def test_a_failed_attempt_leaves_pending_and_the_next_one_says_so(bank: Bank):
    seen: list[tuple[bool, str]] = []

    async def note(request: PutRequest, call: CallContext) -> PutResponse:
        seen.append((call.is_repeat, call.idempotency_key))
        return await charge(request, call)

    bank.ledger.on_charge = bank.third.fail
    with pytest.raises(RpcError, match="no line"):
        await bank.charge()
    assert bank.standing() == {"action": "PENDING"}
    bank.ledger.on_charge = note
    await bank.charge()
    assert seen == [(True, bank.third.keys[0])]
    assert (bank.standing(), bank.charged()) == ({"action": "DONE"}, 1)


async def test_an_attempt_of_a_dead_process_is_run_again_with_the_same_key(tmp_path: Path):
    await die_in_attempt(tmp_path)
    async with opened(tmp_path) as bank:
        assert bank.standing() == {"action": "PENDING"}
        bank.third.answers.set()
        await bank.charge(saga_call(attempt=2))
        assert (bank.third.keys, bank.charged()) == ([ACT.idempotency_key], 1)


async def test_a_refusal_takes_the_local_effects_back_and_is_final(bank: Bank):
    async def decline(request: PutRequest, call: CallContext) -> PutResponse:
        await charge(request, call)
        raise Declined("CARD_DECLINED")

    bank.ledger.on_charge = decline
    for _ in range(2):
        with pytest.raises(RpcError) as caught:
            await bank.charge()
        assert caught.value.is_refusal
    assert (bank.standing(), bank.charged()) == ({"action": "REFUSED"}, 0)


async def test_a_method_without_local_effects_need_not_begin(bank: Bank):
    async def only_ask(request: PutRequest, call: CallContext) -> PutResponse:
        return PutResponse(note="asked")

    bank.ledger.on_charge = only_ask
    first, second = await bank.charge(), await bank.charge()
    assert (first.response, bank.standing()) == (second.response, {"action": "DONE"})


async def test_a_compensation_waits_for_an_action_that_is_under_way(bank: Bank):
    calling = asyncio.create_task(bank.charge())
    await bank.third.asked.wait()
    undoing = asyncio.create_task(bank.undo())
    await asyncio.sleep(0.01)
    assert not undoing.done()
    bank.third.answers.set()
    await asyncio.gather(calling, undoing)
    assert (bank.standing(), bank.charged()) == ({"action": "DONE", "compensation": "DONE"}, 0)


async def test_a_compensation_that_waits_too_long_is_told_to_come_again(bank: Bank):
    calling = asyncio.create_task(bank.charge())
    await bank.third.asked.wait()
    with pytest.raises(RpcError) as caught:
        await bank.undo(timeout_s=0.15)
    assert caught.value.code is Code.UNAVAILABLE
    assert caught.value.retry_after_s is not None
    assert "compensation" not in bank.standing()
    bank.third.answers.set()
    await calling


@pytest.mark.parametrize("path", [UNDO.path, REFUND.path])
async def test_a_dead_action_is_undone_after_its_not_after_and_then_shut_out(tmp_path: Path, path: str):
    clock = ManualClock(1_000_000)
    action = saga_call(not_after_ms=clock.ms + 60_000)
    await die_in_attempt(tmp_path, action, clock)
    seen: list[str | None] = []

    def noting(body: Body) -> Body:
        async def note(request: PutRequest, call: CallContext) -> PutResponse:
            seen.append(call.action)
            return await body(request, call)

        return note

    async with opened(tmp_path, clock=clock) as bank:
        bank.third.answers.set()
        bank.ledger.on_undo, bank.ledger.on_refund = noting(delete), noting(refund)
        with pytest.raises(RpcError) as caught:
            await bank.undo(path=path)
        assert (caught.value.code, caught.value.retry_after_s) == (Code.UNAVAILABLE, 60.001)
        clock.advance(60.001)
        await bank.undo(path=path)
        with pytest.raises(RpcError) as blocked:
            await bank.charge(action._replace(attempt=2, not_after_ms=LATER_MS))
        assert (seen, blocked.value.reason) == (["UNKNOWN"], "STEP_COMPENSATED")
        assert (bank.third.keys, bank.charged()) == ([], 0)


async def test_begin_refuses_an_action_that_was_compensated_meanwhile(bank: Bank):
    """The row is planted: only a handler that ignores its cancellation could meet it."""
    calling = asyncio.create_task(bank.charge())
    await bank.third.asked.wait()
    connection = sqlite3.connect(bank.database)
    with connection:
        connection.execute(
            "INSERT INTO sagagen_barrier SELECT saga, step, 'compensation', run, started_ms, not_after_ms, digest,"
            " 'DONE', x'', '', trace_id FROM sagagen_barrier"
        )
    connection.close()
    bank.third.answers.set()
    with pytest.raises(RpcError) as caught:
        await calling
    assert (caught.value.reason, bank.charged()) == ("STEP_COMPENSATED", 0)


async def test_a_handler_that_dawdles_after_begin_is_rolled_back(tmp_path: Path, log_lines: list[EventDict]):
    gate = Turnstile(charge)
    async with opened(tmp_path, hold_limit_s=0.1) as bank:
        bank.ledger.on_charge = gate
        with pytest.raises(RpcError) as caught:
            await bank.charge()
        assert caught.value.code is Code.UNAVAILABLE
        assert (bank.standing(), bank.charged(), gate.was_cancelled.is_set()) == (
            {"action": "PENDING"},
            0,
            True,
        )
        assert any("held the writer" in line["event"] for line in log_lines)


async def test_a_transaction_is_begun_once_and_only_there(bank: Bank):
    errors: list[Exception] = []

    async def wrong(request: PutRequest, call: CallContext) -> PutResponse:
        for misuse in (insert(request, call), call.begin(), call.begin()):
            try:
                await misuse
            except NoTransaction as error:
                errors.append(error)
        return PutResponse()

    bank.ledger.on_charge = wrong
    await bank.charge()
    assert len(errors) == 2
    bank.ledger.on_put = charge
    with pytest.raises(RpcError, match="INTERNAL"):
        await bank.host.handle(PUT.path, put(), saga_call(saga="s2").to_metadata(), 10.0)


async def test_a_request_that_is_no_message_leaves_nothing_pending(bank: Bank):
    with pytest.raises(RpcError) as caught:
        await bank.charge(request=b"\xff")
    assert (caught.value.code, bank.standing()) == (Code.INVALID_ARGUMENT, {})


async def test_direct_calls_are_joined_by_key_and_free_without(bank: Bank):
    bank.third.answers.set()
    for metadata in ({"idempotency-key": "k"}, {"idempotency-key": "k"}, {}):
        try:
            await bank.host.handle(CHARGE.path, put(f"n{len(metadata)}"), metadata, 10.0)
        except RpcError as error:
            pytest.fail(str(error))
    assert (bank.third.keys, bank.charged()) == (["k", ""], 2)


@dataclass
class ImpatientStore:
    """A store that runs each handler twice: the first time for a transaction that it gives up."""

    inner: ServiceStore

    async def write(self, call: BarredCall, handle: Handle) -> CallResult:
        async def give_up(turn: Turn) -> Handled:
            await handle(turn)
            return Handled(unavailable("once more"))

        await self.inner.write(call, give_up)
        return await self.inner.write(call, handle)

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)


async def test_a_store_may_run_a_claim_again_and_one_attempt_comes_of_it(bank: Bank):
    impatient = cast(ServiceStore, ImpatientStore(bank.host._store))  # pyright: ignore[reportPrivateUsage] - wrapped
    bank.host._context.attempts.store = impatient  # pyright: ignore[reportPrivateUsage] - no other way in
    calls = [asyncio.create_task(bank.charge(saga_call(attempt=attempt))) for attempt in (1, 2)]
    await bank.third.asked.wait()
    assert bank.standing() == {"action": "PENDING"}
    bank.third.answers.set()
    assert len({reply.response for reply in await asyncio.gather(*calls)}) == 1
    assert (bank.third.keys, bank.standing(), bank.charged()) == (
        [ACT.idempotency_key],
        {"action": "DONE"},
        1,
    )


async def test_draining_waits_for_an_attempt_whose_client_has_gone(tmp_path: Path):
    async with opened(tmp_path) as bank:
        calling = asyncio.create_task(bank.charge())
        await bank.third.asked.wait()
        calling.cancel()
        asyncio.get_running_loop().call_later(0.05, bank.third.answers.set)
    assert (bank.standing(), bank.charged()) == ({"action": "DONE"}, 1)


KILLED = """
import asyncio, os, pathlib, signal, sys
from ledger import CHARGE, Ledger, put, running
from small_mesh import saga_call
async def die(request, call):
    pathlib.Path(sys.argv[1], "asked").write_text(call.idempotency_key)
    os.kill(os.getpid(), signal.SIGKILL)
async def main():
    ledger = Ledger()
    ledger.on_charge = die
    async with running(pathlib.Path(sys.argv[1]), ledger) as host:
        await host.handle(CHARGE.path, put(), saga_call().to_metadata(), 10.0)
asyncio.run(main())
"""


async def test_a_process_killed_while_it_asks_is_taken_over(tmp_path: Path):
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, tmp_path],
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        check=False,
    )
    assert killed.returncode == -9
    async with opened(tmp_path) as bank:
        assert bank.standing() == {"action": "PENDING"}
        bank.third.answers.set()
        await bank.charge(saga_call(attempt=2))
        assert (bank.third.keys, bank.charged()) == ([(tmp_path / "asked").read_text()], 1)
