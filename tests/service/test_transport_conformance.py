"""What a caller of a service sees, the same over gRPC and in one process."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from certificates_of import folder_of, new_ca, trust_by
from grpclib.const import Status as Code
from ledger import GET, PUT, SCHEMA, SERVICE, Ledger, PutRequest, PutResponse, Turnstile, insert, put, running
from service_proxy import proxied
from small_mesh import saga_call
from waiting import LIMIT_S, eventually_async

from sagagen.runtime import plain
from sagagen.runtime.rpc.claim import CLAIM, CLAIM_PATH
from sagagen.runtime.rpc.errors import Declined, FieldViolation, RpcError
from sagagen.runtime.rpc.metadata import REPLAYED, caller_metadata
from sagagen.runtime.rpc.refusals import OTHER_PAYLOAD
from sagagen.runtime.rpc.transport import MAX_MESSAGE_BYTES, Reply, Transport
from sagagen.runtime.service.call import CallContext
from sagagen.runtime.transports.grpc.client import GrpcTransport
from sagagen.runtime.transports.grpc.renewing import RenewingTransport
from sagagen.runtime.transports.grpc.secured import ServerTls
from sagagen.runtime.transports.grpc.server import serve_grpc
from sagagen.runtime.transports.memory import MemoryTransport

TIMEOUT_S = LIMIT_S


@dataclass
class Reached:
    """A running ledger and the way to it."""

    transport: Transport
    ledger: Ledger
    lose: Callable[[], Awaitable[None]]
    """Break the connection, as a crash of the service would."""

    async def put(
        self, request: bytes = b"", *, timeout_s: float = TIMEOUT_S, metadata: dict[str, str] | None = None
    ) -> Reply:
        return await self.transport.call(
            PUT.path, request or put(), metadata=metadata or {}, timeout_s=timeout_s
        )

    async def refused(
        self, request: bytes = b"", *, timeout_s: float = TIMEOUT_S, metadata: dict[str, str] | None = None
    ) -> RpcError:
        with pytest.raises(RpcError) as error:
            await self.put(request, timeout_s=timeout_s, metadata=metadata)
        return error.value

    async def total(self) -> int:
        reply = await self.transport.call(GET.path, b"", metadata={}, timeout_s=TIMEOUT_S)
        return PutResponse.parse(reply.response).total


PLAIN: dict[str, set[plain.Switch]] = {
    "memory": set(),
    "grpc": set(),
    "plain h2": {"h2"},
    "plain grpclib": {"grpclib"},
    "certificates": set(),
}
"""Ways to a service, and the libraries that are used as they document themselves on it."""


@pytest.fixture(params=list(PLAIN))
async def reached(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Reached]:
    ledger = Ledger()
    async with AsyncExitStack() as stack:
        stack.enter_context(plain.using(PLAIN[request.param]))
        host = await stack.enter_async_context(running(tmp_path, ledger, drain_s=0.0))
        if request.param == "memory":
            yield Reached(MemoryTransport(host), ledger, stack.aclose)
            return
        if request.param == "certificates":
            ca = new_ca()
            trust = await stack.enter_async_context(trust_by(folder_of(ca, tmp_path / "ledger", "ledger")))
            tls = ServerTls(trust.certificates, trust.callers(SERVICE))
            port = await stack.enter_async_context(serve_grpc(host, "127.0.0.1", 0, SCHEMA, tls=tls))
            proxy = await stack.enter_async_context(proxied(port))
            trust = await stack.enter_async_context(trust_by(folder_of(ca, tmp_path / "gateway", "gateway")))
            renewing = RenewingTransport("127.0.0.1", proxy.port, "ledger", trust)
            yield Reached(await stack.enter_async_context(renewing), ledger, proxy.cut)
            return
        port = await stack.enter_async_context(serve_grpc(host, "127.0.0.1", 0, SCHEMA))
        proxy = await stack.enter_async_context(proxied(port))
        transport = await stack.enter_async_context(GrpcTransport("127.0.0.1", proxy.port))
        yield Reached(transport, ledger, proxy.cut)


async def test_a_call_is_answered(reached: Reached):
    reply = await reached.put(put("a", 7))
    assert PutResponse.parse(reply.response).total == 7
    assert dict(reply.trailers) == {}
    assert await reached.total() == 7


async def test_an_empty_request_and_an_empty_response_are_messages_too(reached: Reached):
    async def nothing(request: PutRequest, call: CallContext) -> PutResponse:
        return PutResponse()

    reached.ledger.on_put = nothing
    reply = await reached.transport.call(PUT.path, b"", metadata={}, timeout_s=TIMEOUT_S)
    assert reply.response == b""


async def test_a_replay_says_so_in_its_trailers(reached: Reached):
    metadata = saga_call().to_metadata()
    first = await reached.put(metadata=metadata)
    again = await reached.put(metadata=metadata)
    assert again.response == first.response
    assert dict(again.trailers) == {REPLAYED: "true"}
    assert reached.ledger.puts == 1


@pytest.mark.parametrize(
    "step", ["put[größe]", "put[100 % レモン]", f"put[{'ö' * 64}]", "put[a]b]", "~claim"]
)
async def test_steps_and_callers_of_any_characters_arrive(reached: Reached, step: str):
    told: list[tuple[str, ...]] = []

    async def note(request: PutRequest, call: CallContext) -> PutResponse:
        told.append((call.step, call.caller, call.idempotency_key))
        return await insert(request, call)

    reached.ledger.on_put = note
    call = saga_call(step)._replace(caller=" Zoë\n100 %")
    await reached.put(metadata=call.to_metadata())
    again = await reached.put(metadata=call._replace(attempt=2).to_metadata())
    assert dict(again.trailers) == {REPLAYED: "true"}
    assert told == [(step, " Zoë\n100 %", call.idempotency_key)]


async def test_a_call_says_for_whom_though_no_saga_makes_it(reached: Reached):
    told: list[str] = []

    async def note(call: CallContext) -> PutResponse:
        told.append(call.caller)
        return PutResponse()

    reached.ledger.on_get = note
    for metadata in ({}, caller_metadata(""), caller_metadata("ann"), caller_metadata("größe")):
        await reached.transport.call(GET.path, b"", metadata=metadata, timeout_s=TIMEOUT_S)
    assert told == ["", "", "ann", "größe"]


async def test_a_saga_is_claimed_by_a_call_without_handler(reached: Reached):
    async def claim(run: str, request: bytes = b"input") -> Reply | RpcError:
        metadata = saga_call(CLAIM, run=run).to_metadata()
        try:
            return await reached.transport.call(CLAIM_PATH, request, metadata=metadata, timeout_s=TIMEOUT_S)
        except RpcError as error:
            return error

    assert await claim("first") == Reply(b"")
    assert await claim("first") == Reply(b"", {REPLAYED: "true"})
    other, other_input = await claim("second"), await claim("second", b"another input")
    for error, is_another_input in ((other, False), (other_input, True)):
        assert isinstance(error, RpcError)
        assert (error.code, error.reason) == (Code.ABORTED, "OTHER_RUN")
        assert (OTHER_PAYLOAD in error.metadata) is is_another_input
    assert (await reached.refused(metadata=saga_call(run="second").to_metadata())).reason == "OTHER_RUN"
    await reached.put(metadata=saga_call(run="first").to_metadata())
    assert reached.ledger.puts == 1


async def test_a_refusal_arrives_with_its_details(reached: Reached):
    async def decline(request: PutRequest, call: CallContext) -> PutResponse:
        raise Declined("TOO_MUCH", "zu viel: 100 € – or more\n")

    reached.ledger.on_put = decline
    error = await reached.refused(metadata=saga_call().to_metadata())
    assert (error.code, error.reason, error.domain) == (Code.FAILED_PRECONDITION, "TOO_MUCH", "ledger.lab")
    assert error.message == "zu viel: 100 € – or more\n"
    assert error.is_refusal
    again = await reached.refused(metadata=saga_call().to_metadata())
    assert again.is_refusal
    assert again.metadata[REPLAYED] == "true"
    assert reached.ledger.puts == 1


async def test_each_broken_rule_arrives_with_its_field(reached: Reached):
    error = await reached.refused(put("a", 1_000_000))
    assert error.code is Code.INVALID_ARGUMENT
    (violation,) = error.violations
    assert (violation.field, violation.rule) == ("amount", "int32.lt")
    assert reached.ledger.puts == 0


async def test_what_is_no_message_is_an_invalid_argument(reached: Reached):
    error = await reached.refused(b"\x0a\xff\xff")
    assert error.code is Code.INVALID_ARGUMENT


async def test_an_error_of_the_handler_arrives_whole(reached: Reached):
    async def fail(request: PutRequest, call: CallContext) -> PutResponse:
        raise RpcError(
            Code.RESOURCE_EXHAUSTED,
            "später",
            reason="BUSY",
            domain="elsewhere",
            metadata={"limit": "5"},
            retry_after_s=1.5,
            violations=[FieldViolation("a.b[0]", "is odd", "rule.id")],
        )

    reached.ledger.on_put = fail
    error = await reached.refused()
    assert (error.code, error.message) == (Code.RESOURCE_EXHAUSTED, "später")
    assert (error.reason, error.domain, error.metadata) == ("BUSY", "elsewhere", {"limit": "5"})
    assert error.retry_after_s == 1.5
    assert error.violations == (FieldViolation("a.b[0]", "is odd", "rule.id"),)


async def test_an_exception_of_the_handler_tells_nothing_but_that(reached: Reached):
    async def fail(request: PutRequest, call: CallContext) -> PutResponse:
        raise RuntimeError("secret")

    reached.ledger.on_put = fail
    error = await reached.refused()
    assert error.code is Code.INTERNAL
    assert "secret" not in str(error)


async def test_an_error_too_large_for_trailers_is_cut(reached: Reached):
    async def fail(request: PutRequest, call: CallContext) -> PutResponse:
        many = [
            FieldViolation(f"items[{n}].quantity", "must be greater than 0", "int32.gt") for n in range(5000)
        ]
        raise RpcError(Code.INVALID_ARGUMENT, "x" * 100_000, violations=many)

    reached.ledger.on_put = fail
    error = await reached.refused()
    assert error.code is Code.INVALID_ARGUMENT
    assert len(error.message) == 1024
    assert error.violations[0].field == "items[0].quantity"
    assert 0 < len(error.violations) < 5000
    reached.ledger.on_put = insert
    await reached.put()


async def test_the_handler_knows_the_deadline(reached: Reached):
    left: list[float] = []

    async def note(request: PutRequest, call: CallContext) -> PutResponse:
        left.append(call.deadline.remaining_s())
        return PutResponse()

    reached.ledger.on_put = note
    await reached.put(timeout_s=LIMIT_S)
    assert LIMIT_S / 2 < left[0] <= LIMIT_S


async def test_a_late_call_ends_on_both_sides(reached: Reached):
    async def late_call() -> Turnstile:
        reached.ledger.on_put = stuck = Turnstile()
        error = await reached.refused(timeout_s=0.5)  # a handler may take a second
        assert error.code is Code.DEADLINE_EXCEEDED
        return stuck

    stuck = await eventually_async(
        "a call to reach its handler", late_call, lambda stuck: stuck.entered.is_set()
    )
    await stuck.was_cancelled.wait()
    reached.ledger.on_put = insert
    await reached.put(put("b", 2))
    assert await reached.total() == 2


async def test_no_time_at_all_is_a_deadline_that_has_passed(reached: Reached):
    error = await reached.refused(timeout_s=0.0)
    assert error.code is Code.DEADLINE_EXCEEDED
    assert reached.ledger.puts == 0


async def test_cancelling_reaches_the_handler_and_rolls_back(reached: Reached):
    reached.ledger.on_put = stuck = Turnstile()
    call = asyncio.create_task(reached.put(metadata=saga_call().to_metadata()))
    await stuck.entered.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await stuck.was_cancelled.wait()
    assert await reached.total() == 0
    reached.ledger.on_put = insert
    reply = await reached.put(metadata=saga_call(attempt=2).to_metadata())
    assert dict(reply.trailers) == {}
    assert await reached.total() == 1


async def test_a_connection_lost_in_the_middle_is_unavailable(reached: Reached):
    reached.ledger.on_put = stuck = Turnstile()
    call = asyncio.create_task(reached.refused())
    await stuck.entered.wait()
    await reached.lose()
    assert (await call).code is Code.UNAVAILABLE
    await stuck.was_cancelled.wait()


@pytest.mark.parametrize("extra", [0, 1_000_000])
async def test_a_request_beyond_the_limit_is_rejected_and_does_not_harm_others(reached: Reached, extra: int):
    too_big = put(padding=b"x" * (MAX_MESSAGE_BYTES + extra))
    error, _ = await asyncio.gather(reached.refused(too_big), reached.put(put("b", 1)))
    assert error.code is Code.RESOURCE_EXHAUSTED
    assert await reached.total() == 1


async def test_the_largest_request_and_response_fit(reached: Reached):
    overhead = len(bytes(PutResponse(padding=b"x" * 4_000_000))) - 4_000_000

    async def echo(request: PutRequest, call: CallContext) -> PutResponse:
        return PutResponse(padding=request.padding)

    reached.ledger.on_put = echo
    largest = bytes(MAX_MESSAGE_BYTES - overhead)
    request = bytes(PutResponse(padding=largest))  # the same field number and type as in PutRequest
    reply = await reached.put(request)
    assert len(reply.response) == MAX_MESSAGE_BYTES


async def test_a_response_beyond_the_limit_is_an_error_and_is_not_recorded(reached: Reached):
    async def grow(request: PutRequest, call: CallContext) -> PutResponse:
        await insert(request, call)
        return PutResponse(padding=b"x" * MAX_MESSAGE_BYTES)

    reached.ledger.on_put = grow
    error = await reached.refused(metadata=saga_call().to_metadata())
    assert error.code is Code.INTERNAL
    assert await reached.total() == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-key", "zwölf"),
        ("x-key", "a\nb"),
        ("x-key", ""),
        ("X-Key", "a"),
        ("grpc-timeout", "1S"),
        ("a-bin", "a"),
    ],
)
async def test_metadata_that_the_wire_can_not_carry_is_rejected(reached: Reached, name: str, value: str):
    error = await reached.refused(metadata={name: value})
    assert error.code is Code.INTERNAL
    assert name in error.message
    assert reached.ledger.puts == 0


async def test_broken_metadata_of_a_saga_is_an_invalid_argument(reached: Reached):
    metadata = saga_call().to_metadata()
    del metadata["sagagen-run"]
    error = await reached.refused(metadata=metadata)
    assert error.code is Code.INVALID_ARGUMENT
    assert "sagagen-run" in error.message


@pytest.mark.parametrize("path", ["/lab.v1.LedgerService/Missing", "/lab.v1.Missing/Put", "/nothing"])
async def test_an_unknown_rpc_is_unimplemented(reached: Reached, path: str):
    with pytest.raises(RpcError) as error:
        await reached.transport.call(path, b"", metadata={}, timeout_s=TIMEOUT_S)
    # grpclib's own answer to an unknown path has no content type, and its client makes UNKNOWN of that.
    assert error.value.code is (Code.UNKNOWN if plain.is_plain("grpclib") else Code.UNIMPLEMENTED)


async def test_many_calls_at_once_are_all_answered(reached: Reached):
    replies = await asyncio.gather(*(reached.put(put(f"n{n}", 1)) for n in range(64)))
    totals = [PutResponse.parse(reply.response).total for reply in replies]
    assert sorted(totals) == list(range(1, 65))
    assert await reached.total() == 64


async def test_an_error_does_not_disturb_a_task_group_around_the_call(reached: Reached):
    reached.ledger.on_put = Turnstile()
    async with asyncio.TaskGroup() as group:
        late = group.create_task(reached.refused(timeout_s=0.1))
        await reached.refused(timeout_s=0.1)
    assert late.result().code is Code.DEADLINE_EXCEEDED
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
