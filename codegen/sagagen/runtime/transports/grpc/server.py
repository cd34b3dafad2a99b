"""A service served over gRPC, with health service and reflection."""

import errno
import socket
import struct
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from weakref import WeakSet

from google.protobuf import descriptor_pool
from grpclib._typing import IServable
from grpclib.const import Cardinality, Handler
from grpclib.const import Status as Code
from grpclib.health.check import ServiceCheck, ServiceStatus
from grpclib.health.service import Health
from grpclib.protocol import H2Protocol
from grpclib.reflection.service import ServerReflection
from grpclib.server import Server, Stream

from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.limits import PassThrough, RawDetails, check_size, text_entries, wire_form
from sagagen.runtime.rpc.metadata import REPLAYED
from sagagen.runtime.service.host import ServiceHost
from sagagen.runtime.startup import PortTaken
from sagagen.runtime.transports.grpc.protocol import MeshProtocol

CHECKED_FOR_S = 2.0
"""How long an answer of the health service may be old, in seconds, and how long finding it may take."""
_PREFIX = struct.Struct(">BI")
"""Length-Prefixed-Message of gRPC over HTTP/2: compressed flag and length."""


@asynccontextmanager
async def serve_grpc(host: ServiceHost, address: str, port: int, schema: Schema) -> AsyncGenerator[int]:
    """Answer gRPC calls on `address`:`port` until the block is left; yields the port, a free one for 0.

    Leaving says NOT_SERVING, lets the calls under way end, and closes all connections. Raises PortTaken.
    """
    listener = _listen(address, port)
    try:
        health = ServiceStatus()
        health.set(True)
        server = _Server(_servables(host, health, schema))
        await server.start(sock=listener)
    except BaseException:
        listener.close()
        raise
    try:
        yield listener.getsockname()[1]
    finally:
        health.set(False)
        await host.drain()
        await server.stop()


class _Server(Server):
    """grpclib's server, which can also end its connections: from Python 3.12 on it waits for its clients to do so."""

    def __init__(self, servables: Collection[IServable]) -> None:
        super().__init__(servables, codec=PassThrough(), status_details_codec=RawDetails())
        self._mapping = _Mapping(self._mapping)
        self._protocols: WeakSet[H2Protocol] = WeakSet()

    def _protocol_factory(self) -> H2Protocol:
        protocol = MeshProtocol.instead_of(super()._protocol_factory())
        self._protocols.add(protocol)
        return protocol

    async def stop(self) -> None:
        """Listen no more, cancel what still runs, and close every connection."""
        self.close()
        for protocol in tuple(self._protocols):
            if hasattr(protocol, "processor"):  # set once the connection is made
                protocol.processor.close("the service has stopped")
        await self.wait_closed()


class _Mapping(dict[str, Handler]):
    """Handlers by path. grpclib answers unknown paths without a content type, which clients then take for UNKNOWN."""

    def get(self, path: str, default: Any = None) -> Handler:
        return super().get(path) or _UNKNOWN_RPC


async def _unimplemented(stream: Stream[Any, Any]) -> None:
    await stream.send_trailing_metadata(status=Code.UNIMPLEMENTED, status_message="no such rpc here")


_UNKNOWN_RPC = Handler(_unimplemented, Cardinality.UNARY_UNARY, bytes, bytes)


class _ProtoService:
    """The rpcs of one proto service, in grpclib's terms."""

    def __init__(self, rpcs: Mapping[str, "_Rpc"]) -> None:
        self._rpcs = rpcs

    def __mapping__(self) -> Mapping[str, Handler]:
        return {path: Handler(rpc, Cardinality.UNARY_UNARY, bytes, bytes) for path, rpc in self._rpcs.items()}


class _Rpc:
    """One rpc: from grpclib's stream to the host and back."""

    def __init__(self, host: ServiceHost, path: str) -> None:
        self._host = host
        self._path = path

    async def __call__(self, stream: Stream[Any, Any]) -> None:
        try:
            request = await _receive(stream)
            timeout_s = stream.deadline.time_remaining() if stream.deadline else None
            reply = await self._host.handle(self._path, request, text_entries(stream.metadata), timeout_s)
            check_size(len(reply.response))
        except RpcError as error:
            await _send_error(stream, error)
            return
        await stream.send_message(reply.response)
        await stream.send_trailing_metadata(metadata=dict(reply.trailers))


async def _receive(stream: Stream[Any, Any]) -> bytes:
    """The request's bytes. Read from the raw stream, since grpclib would take in a message of any length."""
    raw = stream._stream  # pyright: ignore[reportPrivateUsage]
    prefix = await raw.recv_data(_PREFIX.size)
    if not prefix:
        raise RpcError(Code.INTERNAL, "the call has no request message")
    is_compressed, length = _PREFIX.unpack(prefix)
    if is_compressed:
        raise RpcError(Code.UNIMPLEMENTED, "compressed messages are not supported")
    check_size(length)
    return await raw.recv_data(length)


async def _send_error(stream: Stream[Any, Any], error: RpcError) -> None:
    message, details = wire_form(error)
    await stream.send_trailing_metadata(
        status=error.code,
        status_message=message,
        status_details=details,
        metadata={REPLAYED: "true"} if REPLAYED in error.metadata else {},
    )


def _servables(host: ServiceHost, status: ServiceStatus, schema: Schema) -> list[IServable]:
    rpcs: dict[str, dict[str, _Rpc]] = {}
    for path in host.paths:
        rpcs.setdefault(path.split("/")[1], {})[path] = _Rpc(host, path)
    services = [_ProtoService(of_service) for of_service in rpcs.values()]
    database = ServiceCheck(partial(_is_well, host), check_ttl=CHECKED_FOR_S, check_timeout=CHECKED_FOR_S)
    health = Health({service: [status, database] for service in services})
    return ServerReflection.extend([*services, health], pool=_Pools(schema.pool))


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
