"""A service served over gRPC, with health service and reflection."""

import asyncio
import errno
import logging
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError
from grpclib.const import Cardinality, Handler
from grpclib.const import Status as Code
from grpclib.exceptions import GRPCError
from grpclib.health.check import ServiceCheck, ServiceStatus
from grpclib.health.service import Health
from grpclib.reflection.service import ServerReflection
from grpclib.server import Server, Stream

from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.plain import is_plain
from sagagen.runtime.rpc.claim import CLAIM_PATH
from sagagen.runtime.rpc.database import DATABASE_PATH
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.limits import PassThrough, RawDetails, check_size, text_entries, wire_form
from sagagen.runtime.rpc.metadata import REPLAYED
from sagagen.runtime.rpc.transport import Reply
from sagagen.runtime.service.host import ServiceHost
from sagagen.runtime.startup import PortTaken
from sagagen.runtime.taken import TAKEN_WITHIN_S
from sagagen.runtime.transports.grpc.in_time import in_time
from sagagen.runtime.transports.grpc.servable import Servable

if TYPE_CHECKING:
    from sagagen.runtime.transports.grpc.secured import ServerTls

CHECKED_FOR_S = 2.0
"""How long an answer of the health service may be old, in seconds, and how long finding it may take."""
STOP_S = 1.0
"""How long a server that has cancelled its calls waits at most, in seconds, for them and for its connections to end."""

REQUEST_S = 30.0
"""How long a call's request may take to arrive, in seconds."""
ANSWER_S = TAKEN_WITHIN_S
"""How long a client may take over an answer, in seconds."""

Receive = Callable[[Stream[Any, Any]], Coroutine[Any, Any, bytes]]
Verify = Callable[[str, bytes, Mapping[str, str]], None]
"""Takes a call's path, request and metadata. Raises RpcError where nobody of the mesh has made the call."""


@asynccontextmanager
async def serve_grpc(
    host: ServiceHost,
    address: str,
    port: int,
    schema: Schema,
    *,
    verify: Verify | None = None,
    tls: "ServerTls | None" = None,
) -> AsyncGenerator[int]:
    """Answer gRPC calls on `address`:`port` until the block is left; yields the port, a free one for 0.

    `verify` is asked about every call, those of the health service and of reflection too, before anything else.
    With `tls` nobody is answered whose certificate names no caller of the service.
    Leaving says NOT_SERVING, lets the calls under way end, and closes all connections. Raises PortTaken.
    """
    logging.getLogger("grpclib.server").addFilter(_is_worth_a_line)
    listener = _listen(address, port)
    try:
        health = ServiceStatus()
        health.set(True)
        new_server, receive = _ways(tls)
        server = new_server(_servables(host, health, schema, receive, verify))
        await server.start(sock=listener, ssl=tls.context if tls and is_plain("grpclib") else None)
    except BaseException:
        listener.close()
        raise
    try:
        yield listener.getsockname()[1]
    finally:
        health.set(False)
        await host.drain()
        await _stop(server)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Not a traceback for a call whose deadline was over when it came: its client has gone, and nothing is wrong."""
    return record.msg != "Timeout occurred"


async def _stop(server: Server) -> None:
    """Listen no more, and cancel what still runs."""
    server.close()
    closing = asyncio.create_task(server.wait_closed(), name="close gRPC server")
    await asyncio.wait({closing}, timeout=STOP_S)
    if closing.done():
        closing.result()
    else:  # a client holds its connection, which ends with this process
        closing.cancel()


class _ProtoService:
    """The rpcs of one proto service, in grpclib's terms."""

    def __init__(self, rpcs: Mapping[str, "_Rpc"]) -> None:
        self._rpcs = rpcs

    def __mapping__(self) -> Mapping[str, Handler]:
        return {path: Handler(rpc, Cardinality.UNARY_UNARY, bytes, bytes) for path, rpc in self._rpcs.items()}


class _Guarded:
    """One of grpclib's own services, which take a message that can't be read for a fault of theirs."""

    def __init__(self, servable: Servable, verify: Verify | None) -> None:
        self._servable = servable
        self._verify = verify

    def __mapping__(self) -> Mapping[str, Handler]:
        handlers = self._servable.__mapping__()
        return {
            path: handler._replace(func=partial(_guarded, cast(Any, handler).func, path, self._verify))
            for path, handler in handlers.items()
        }


async def _guarded(
    answer: Callable[[Stream[Any, Any]], Awaitable[None]],
    path: str,
    verify: Verify | None,
    stream: Stream[Any, Any],
) -> None:
    try:
        if verify is not None:  # before there is a request: the gateway's probe has an empty one
            verify(path, b"", text_entries(stream.metadata))
    except RpcError as error:
        await _send_error(stream, error)
        return
    try:
        await answer(stream)
    except (AssertionError, DecodeError) as error:
        raise GRPCError(Code.INVALID_ARGUMENT, "the call's request message can't be read") from error
    except NotImplementedError as error:
        raise GRPCError(Code.UNIMPLEMENTED, "compressed messages are not supported") from error


class _Rpc:
    """One rpc: from grpclib's stream to the host and back."""

    def __init__(self, host: ServiceHost, path: str, receive: Receive, verify: Verify | None) -> None:
        self._host = host
        self._path = path
        self._receive = receive
        self._verify = verify

    async def __call__(self, stream: Stream[Any, Any]) -> None:
        try:
            request = await in_time(REQUEST_S, self._receive(stream))
            metadata = text_entries(stream.metadata)
            if self._verify is not None:
                self._verify(self._path, request, metadata)
            timeout_s = stream.deadline.time_remaining() if stream.deadline else None
            reply = await self._host.handle(self._path, request, metadata, timeout_s)
            check_size(len(reply.response))
        except RpcError as error:
            await _send_error(stream, error)
            return
        except TimeoutError:
            late = RpcError(Code.DEADLINE_EXCEEDED, "the call's request took too long to arrive")
            await _send_error(stream, late)
            return
        except asyncio.CancelledError:
            await _tell_cancelled(stream)
            raise
        try:
            await in_time(ANSWER_S, _send(stream, reply))
        except TimeoutError:  # a client that opens no window for its answer would be kept for ever
            await stream.cancel()


async def _send(stream: Stream[Any, Any], reply: Reply) -> None:
    await stream.send_message(reply.response)
    await stream.send_trailing_metadata(metadata=dict(reply.trailers))


async def _receive(stream: Stream[Any, Any]) -> bytes:
    """The request's bytes, as grpclib has taken them in: a message that is too long is refused after that."""
    try:
        request = await stream.recv_message()
    except NotImplementedError as error:
        raise RpcError(Code.UNIMPLEMENTED, "compressed messages are not supported") from error
    if request is None:
        raise RpcError(Code.INVALID_ARGUMENT, "the call has no request message")
    check_size(len(request))
    return request


def _ways(tls: "ServerTls | None") -> tuple[Callable[[Collection[Servable]], Server], Receive]:
    """How a server is made, and how it receives a request."""
    if is_plain("grpclib"):
        return partial(_plain_server, tls), _receive
    from sagagen.runtime.transports.grpc.fast.server import MeshServer, receive

    return partial(MeshServer, tls=tls), receive


def _plain_server(tls: "ServerTls | None", servables: Collection[Servable]) -> Server:
    server = Server(servables, codec=PassThrough(), status_details_codec=RawDetails())
    if tls:
        tls.judge_calls_of(server)
    return server


async def _send_error(stream: Stream[Any, Any], error: RpcError) -> None:
    message, details = wire_form(error)
    await stream.send_trailing_metadata(
        status=error.code,
        status_message=message,
        status_details=details,
        metadata={REPLAYED: "true"} if REPLAYED in error.metadata else {},
    )


async def _tell_cancelled(stream: Stream[Any, Any]) -> None:
    """For a handler that cancelled its own task: its caller would wait until its deadline.

    Where the caller ended the call, this reaches nobody; and for a deadline grpclib has an answer of its own.
    """
    if stream.deadline is None or stream.deadline.time_remaining() > 0:
        with suppress(Exception):
            await _send_error(stream, RpcError(Code.UNAVAILABLE, "the call was cancelled"))


def _servables(
    host: ServiceHost, status: ServiceStatus, schema: Schema, receive: Receive, verify: Verify | None
) -> Sequence[Servable]:
    rpcs: dict[str, dict[str, _Rpc]] = {}
    for path in host.paths:
        rpcs.setdefault(path.split("/")[1], {})[path] = _Rpc(host, path, receive, verify)
    services = [_ProtoService(of_service) for of_service in rpcs.values()]
    database = ServiceCheck(partial(_is_well, host), check_ttl=CHECKED_FOR_S, check_timeout=CHECKED_FOR_S)
    health = Health({service: [status, database] for service in services})
    served = ServerReflection.extend([*services, health], pool=_Pools(schema.pool))
    claims = _ProtoService({CLAIM_PATH: _Rpc(host, CLAIM_PATH, receive, verify)})
    database_asked = _ProtoService({DATABASE_PATH: _Rpc(host, DATABASE_PATH, receive, verify)})
    return [
        claims,
        database_asked,
        *(each if isinstance(each, _ProtoService) else _Guarded(each, verify) for each in served),
    ]


async def _is_well(host: ServiceHost) -> bool:
    return not await host.check()


class _Pools:
    """The contract's descriptors, then those of this process (health, reflection): what reflection looks up."""

    def __init__(self, pool: descriptor_pool.DescriptorPool) -> None:
        self._pools: tuple[Any, ...] = (pool, descriptor_pool.Default())

    def __getattr__(self, lookup: str) -> Callable[..., Any]:
        return partial(self._first, lookup)

    def _first(self, lookup: str, *arguments: Any) -> Any:
        for pool in self._pools[:-1]:
            try:
                return getattr(pool, lookup)(*arguments)
            except KeyError:
                continue
        return getattr(self._pools[-1], lookup)(*arguments)


def _listen(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    try:
        return socket.create_server(address, family=family, backlog=128)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(host, port) from error
        raise
