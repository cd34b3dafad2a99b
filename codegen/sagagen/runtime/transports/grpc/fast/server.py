"""grpclib's server over our protocol, and what it does not do by itself."""

import struct
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, cast

from grpclib.const import Cardinality, Handler
from grpclib.const import Status as Code
from grpclib.protocol import H2Protocol
from grpclib.server import Server, Stream

from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.limits import PassThrough, RawDetails, check_size
from sagagen.runtime.transports.grpc.fast.floods import MAX_CONNECTIONS, OpenConnections, guarded
from sagagen.runtime.transports.grpc.fast.protocol import h2_class
from sagagen.runtime.transports.grpc.servable import Servable

if TYPE_CHECKING:
    from sagagen.runtime.transports.grpc.secured import ServerTls

_PREFIX = struct.Struct(">BI")
"""Length-Prefixed-Message of gRPC over HTTP/2: compressed flag and length."""


class MeshServer(Server):
    """grpclib's server, which can also end its connections: from Python 3.12 on it waits for its clients to do so."""

    def __init__(self, servables: Collection[Servable], tls: "ServerTls | None" = None) -> None:
        super().__init__(servables, codec=PassThrough(), status_details_codec=RawDetails())
        self._mapping = _Mapping(self._mapping)
        self._connections = OpenConnections(MAX_CONNECTIONS)
        self._callers = tls.callers if tls else None
        self._handshakes = tls.handshakes(self._connection) if tls else None
        h2_class()  # decided now, not within the first call

    def _protocol_factory(self) -> H2Protocol:
        if self._handshakes is not None:  # what comes first is no HTTP/2 yet
            return cast(H2Protocol, self._handshakes.accept())
        return self._connection()

    def _connection(self) -> H2Protocol:
        return guarded(super()._protocol_factory(), self._connections, self._callers)

    def close(self) -> None:
        """Listen no more, cancel what still runs, and close every connection."""
        super().close()
        if self._handshakes is not None:
            self._handshakes.close()
        self._connections.end()


class _Mapping(dict[str, Handler]):
    """Handlers by path. grpclib answers unknown paths without a content type, which clients then take for UNKNOWN."""

    def get(self, path: str, default: Any = None) -> Handler:
        return super().get(path) or _UNKNOWN_RPC


async def _unimplemented(stream: Stream[Any, Any]) -> None:
    await stream.send_trailing_metadata(status=Code.UNIMPLEMENTED, status_message="no such rpc here")


_UNKNOWN_RPC = Handler(_unimplemented, Cardinality.UNARY_UNARY, bytes, bytes)


async def receive(stream: Stream[Any, Any]) -> bytes:
    """The request's bytes. Read from the raw stream, since grpclib would take in a message of any length."""
    raw = stream._stream  # pyright: ignore[reportPrivateUsage]
    try:
        prefix = await raw.recv_data(_PREFIX.size)
        if not prefix:
            raise RpcError(Code.INVALID_ARGUMENT, "the call has no request message")
        is_compressed, length = _PREFIX.unpack(prefix)
        if is_compressed:
            raise RpcError(Code.UNIMPLEMENTED, "compressed messages are not supported")
        check_size(length)
        return await raw.recv_data(length)
    except AssertionError as error:  # how grpclib says that the stream ended before
        raise RpcError(Code.INVALID_ARGUMENT, "the call's request message is cut short") from error
