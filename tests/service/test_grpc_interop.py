"""Our side of gRPC against the official implementation, each way: neither end may need the other to be ours."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import grpc
import grpc.aio
import pytest
from google.rpc import status_pb2
from grpclib.const import Status as Code
from ledger import PUT, SCHEMA, Ledger, PutRequest, PutResponse, Turnstile, put, running
from waiting import LIMIT_S, eventually_async

from sagagen.runtime import Call, Declined
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.transports.grpc.client import GrpcTransport
from sagagen.runtime.transports.grpc.server import serve_grpc

LARGE = b"x" * (4 * 1024 * 1024 - 1024)
Body = Callable[[bytes, Any], Awaitable[bytes]]


@asynccontextmanager
async def official_client(folder: Path, ledger: Ledger) -> AsyncGenerator[Callable[..., Any]]:
    """The lab's service, and grpc's own client of its `Put`."""
    async with (
        running(folder, ledger) as host,
        serve_grpc(host, "127.0.0.1", 0, SCHEMA) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        yield channel.unary_unary(PUT.path)


@asynccontextmanager
async def official_server(body: Body) -> AsyncGenerator[GrpcTransport]:
    """grpc's own server that answers `Put` with `body`, and our client of it."""
    method, _, name = PUT.path[1:].partition("/")
    server = grpc.aio.server()
    handlers: dict[str, Any] = {name: grpc.unary_unary_rpc_method_handler(body)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(method, handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with GrpcTransport("127.0.0.1", port) as transport:
            yield transport
    finally:
        await server.stop(None)


async def test_its_client_calls_ours_many_times_at_once(tmp_path: Path):
    async with official_client(tmp_path, Ledger()) as call:
        answers = await asyncio.gather(*(call(put(f"n{n}")) for n in range(100)))
    assert sorted(PutResponse.FromString(answer).total for answer in answers) == list(range(1, 101))


async def test_its_client_reads_a_refusal_with_its_details(tmp_path: Path):
    async def decline(_request: PutRequest, _call: Call) -> PutResponse:
        raise Declined("TOO_MUCH", "no more — möglich")

    ledger = Ledger()
    ledger.on_put = decline
    async with official_client(tmp_path, ledger) as call:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(put())
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details() == "no more — möglich"
    metadata = caught.value.trailing_metadata()
    assert metadata is not None
    assert status_pb2.Status.FromString(cast(bytes, metadata["grpc-status-details-bin"])).details


async def test_its_clients_deadline_and_cancellation_reach_our_handlers(tmp_path: Path):
    ledger = Ledger()
    async with official_client(tmp_path, ledger) as call:

        async def late_call() -> Turnstile:
            ledger.on_put = stuck = Turnstile()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call(put(), timeout=0.5)  # a handler may take a second
            assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            return stuck

        late = await eventually_async(
            "a call to reach its handler", late_call, lambda stuck: stuck.entered.is_set()
        )
        await asyncio.wait_for(late.was_cancelled.wait(), LIMIT_S)

        ledger.on_put = given_up = Turnstile()
        calling = call(put("b"))
        await given_up.entered.wait()
        calling.cancel()
        await asyncio.wait_for(given_up.was_cancelled.wait(), LIMIT_S)


async def test_its_client_sends_what_is_just_small_enough(tmp_path: Path):
    async with official_client(tmp_path, Ledger()) as call:
        assert PutResponse.FromString(await call(put(padding=LARGE))).total == 1
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(put(padding=LARGE + b"y" * 2048))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_our_client_calls_its_server_with_metadata_many_times_at_once():
    async def echo(request: bytes, context: Any) -> bytes:
        sent = dict(context.invocation_metadata())
        context.set_trailing_metadata((("sagagen-replayed", sent["sagagen-step"]),))
        return request

    async with official_server(echo) as transport:
        replies = await asyncio.gather(
            *(
                transport.call(
                    PUT.path, b"%d" % n, metadata={"sagagen-step": f"step_{n % 3}"}, timeout_s=LIMIT_S
                )
                for n in range(100)
            )
        )
    assert [reply.response for reply in replies] == [b"%d" % n for n in range(100)]
    assert {reply.trailers["sagagen-replayed"] for reply in replies} == {"step_0", "step_1", "step_2"}


async def test_our_client_reads_its_errors_and_gives_up_in_time():
    async def refuse(request: bytes, context: Any) -> bytes:
        if request == b"late":
            await asyncio.sleep(LIMIT_S)
        await context.abort(grpc.StatusCode.ABORTED, "nö")
        raise AssertionError("abort raises")

    async with official_server(refuse) as transport:
        with pytest.raises(RpcError) as caught:
            await transport.call(PUT.path, b"", metadata={}, timeout_s=LIMIT_S)
        assert (caught.value.code, caught.value.message) == (Code.ABORTED, "nö")
        with pytest.raises(RpcError) as late:
            await transport.call(PUT.path, b"late", metadata={}, timeout_s=0.2)
        assert late.value.code is Code.DEADLINE_EXCEEDED


async def test_our_client_takes_its_large_answers():
    async def large(_request: bytes, _context: Any) -> bytes:
        return LARGE

    async with official_server(large) as transport:
        reply = await transport.call(PUT.path, b"", metadata={}, timeout_s=LIMIT_S)
    assert len(reply.response) == len(LARGE)
