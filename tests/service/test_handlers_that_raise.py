"""Whatever a handler raises, its caller learns the same, and the service goes on: on every transport."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from ends import ENDS
from grpclib.const import Status as Code
from ledger import (
    CHARGE,
    GET,
    PUT,
    REFUND,
    SCHEMA,
    UNDO,
    Ledger,
    PutRequest,
    PutResponse,
    insert,
    put,
    running,
)
from small_mesh import saga_call
from waiting import LIMIT_S

from sagagen.runtime.model.definition import Direction
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.transport import Transport
from sagagen.runtime.service.call import CallContext
from sagagen.runtime.transports.grpc.client import GrpcTransport
from sagagen.runtime.transports.grpc.server import serve_grpc
from sagagen.runtime.transports.memory import MemoryTransport


@pytest.fixture(params=["memory", "grpc"])
async def reached(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[tuple[Ledger, Transport]]:
    ledger = Ledger()
    async with AsyncExitStack() as stack:
        host = await stack.enter_async_context(running(tmp_path, ledger, drain_s=0.0))
        if request.param == "memory":
            yield ledger, MemoryTransport(host)
            return
        port = await stack.enter_async_context(serve_grpc(host, "127.0.0.1", 0, SCHEMA))
        yield ledger, await stack.enter_async_context(GrpcTransport("127.0.0.1", port))


async def outcome_of(
    transport: Transport, path: str, metadata: dict[str, str], request: bytes = b""
) -> RpcError:
    with pytest.raises(RpcError) as raised:
        await transport.call(path, request, metadata=metadata, timeout_s=LIMIT_S)
    return raised.value


def fails_in(ledger: Ledger, place: str, end: Callable[[], object]) -> None:
    """Have the handler do it there. It has written something by then, where it can."""

    async def write(request: PutRequest, call: CallContext) -> PutResponse:
        if place == "after begin":
            await call.begin()
        if place not in ("manual", "manual compensation"):
            await insert(request, call)
        end()
        raise AssertionError("it goes on")

    async def read(call: CallContext) -> PutResponse:
        end()
        raise AssertionError("it goes on")

    ledger.on_put = ledger.on_undo = ledger.on_charge = ledger.on_refund = write
    ledger.on_get = read


def works_again(ledger: Ledger) -> None:
    fresh = Ledger()
    ledger.on_put, ledger.on_undo, ledger.on_get = fresh.on_put, fresh.on_undo, fresh.on_get
    ledger.on_charge, ledger.on_refund = fresh.on_charge, fresh.on_refund


ACT, UNDOES = saga_call().to_metadata(), saga_call(direction=Direction.COMPENSATION).to_metadata()
PLACES: dict[str, tuple[str, str, dict[str, str]]] = {
    "write": ("", PUT.path, ACT),
    "compensation": (PUT.path, UNDO.path, UNDOES),
    "direct write": ("", PUT.path, {"idempotency-key": "k-1"}),
    "read": ("", GET.path, {}),
    "manual": ("", CHARGE.path, ACT),
    "manual compensation": (CHARGE.path, REFUND.path, UNDOES),
    "after begin": ("", CHARGE.path, ACT),
}
"""Where a handler runs: the action that was done before, the rpc, and the metadata."""


@pytest.mark.parametrize("place", PLACES)
async def test_whatever_a_handler_raises_is_a_failure_of_that_call_alone(
    reached: tuple[Ledger, Transport], place: str
):
    ledger, transport = reached
    before, path, metadata = PLACES[place]
    for number, (name, end) in enumerate(ENDS.items()):
        of_this = {key: f"{value}{number}" if key in IDS else value for key, value in metadata.items()}
        request = b"" if path == GET.path else put(f"entry {number}")
        works_again(ledger)
        if before:
            action = {**of_this, "sagagen-direction": "action"}
            await transport.call(before, request, metadata=action, timeout_s=LIMIT_S)
        fails_in(ledger, place, end)
        error = await outcome_of(transport, path, of_this, request)
        assert (error.code, error.message) == (
            Code.INTERNAL,
            "the handler failed; the service's log says why",
        ), name
        assert not error.is_refusal, name

        works_again(ledger)
        reply = await transport.call(path, request, metadata=of_this, timeout_s=LIMIT_S)
        assert "sagagen-replayed" not in reply.trailers, f"nothing of it was recorded: {name}"


IDS = frozenset({"sagagen-saga-id", "idempotency-key"})


async def test_values_that_raise_while_they_are_bound_are_the_handlers_too(
    reached: tuple[Ledger, Transport],
):
    """What a handler hands to a statement is its code as well: it runs in the database's thread, or in place."""
    ledger, transport = reached

    def rows() -> Iterator[tuple[Any, ...]]:
        yield ("a", 1)
        raise SystemExit(3)

    async def hand_over(request: PutRequest, call: CallContext) -> PutResponse:
        await call.db.executemany("INSERT INTO entries VALUES (?, ?)", rows())
        return PutResponse()

    ledger.on_put = hand_over
    error = await outcome_of(transport, PUT.path, ACT, put())
    assert error.code is Code.INTERNAL
    works_again(ledger)
    reply = await transport.call(PUT.path, put(), metadata=ACT, timeout_s=LIMIT_S)
    assert PutResponse.parse(reply.response).total == 1, "the first row of the failed call is undone"


async def test_a_handler_that_cancels_its_own_task_is_in_doubt(reached: tuple[Ledger, Transport]):
    ledger, transport = reached

    async def cancel_oneself(request: PutRequest, call: CallContext) -> PutResponse:
        task = asyncio.current_task()
        assert task
        task.cancel()
        await asyncio.sleep(60)
        return PutResponse()

    ledger.on_put = cancel_oneself
    error = await outcome_of(transport, PUT.path, ACT, put())
    assert error.code is Code.UNAVAILABLE
    works_again(ledger)
    await transport.call(PUT.path, put(), metadata=ACT, timeout_s=LIMIT_S)


async def test_a_generator_exit_out_of_a_thread_goes_no_further_than_its_call(tmp_path: Path):
    """`coro.throw(GeneratorExit)` closes the coroutines within instead of raising in them (PEP 342)."""

    def end() -> None:
        raise GeneratorExit

    async def in_a_thread(request: PutRequest, call: CallContext) -> PutResponse:
        await asyncio.to_thread(end)
        return PutResponse()

    ledger = Ledger()
    async with running(tmp_path, ledger) as host:
        ledger.on_put = in_a_thread
        transport = MemoryTransport(host)
        error = await outcome_of(transport, PUT.path, ACT, put())
        assert error.code is Code.INTERNAL
        works_again(ledger)
        await transport.call(PUT.path, put(), metadata=ACT, timeout_s=LIMIT_S)
