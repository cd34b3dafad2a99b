"""A service in another process, reached over gRPC."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from grpclib.client import Channel, Stream
from grpclib.config import Configuration
from grpclib.const import Cardinality
from grpclib.const import Status as Code
from grpclib.exceptions import GRPCError

from sagagen.runtime.plain import is_plain
from sagagen.runtime.rpc.errors import NoAnswer, NotReached, RpcError
from sagagen.runtime.rpc.limits import PassThrough, RawDetails, check_metadata, check_size, text_entries
from sagagen.runtime.rpc.transport import Reply


@dataclass(frozen=True, slots=True)
class ClientTls:
    """How a service is reached over TLS."""

    context: ssl.SSLContext
    server: str
    """The service's name, which the context's handshake holds against the server's certificate."""


class GrpcTransport:
    """One connection, made with the first call and again after it was lost; implements Transport."""

    def __init__(self, host: str, port: int, tls: ClientTls | None = None) -> None:
        self._address = f"{host}:{port}"
        self._is_closed = False
        self._channel = _channel(host, port, tls)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; calls under way get UNAVAILABLE."""
        self._is_closed = True
        self._channel.close()

    async def call(
        self, path: str, request: bytes, *, metadata: Mapping[str, str], timeout_s: float
    ) -> Reply:
        """As Transport says."""
        check_metadata(metadata)
        if self._is_closed:
            raise RpcError(Code.UNAVAILABLE, f"the connection to {self._address} is closed")
        # grpclib ends a call that is late, or has lost its connection, by cancelling the task that makes it, and never
        # takes that back with uncancel(): a TaskGroup or timeout around the call would take it for its own.
        task = asyncio.create_task(self._call(path, request, metadata, timeout_s))
        cancelled = _cancellations()
        try:
            return await task
        except (asyncio.CancelledError, RpcError) as error:
            if _cancellations() > cancelled:
                raise asyncio.CancelledError from None
            if isinstance(error, RpcError):
                raise
            raise NoAnswer(Code.UNAVAILABLE, f"no answer from {self._address}: the call broke off") from error

    async def _call(self, path: str, request: bytes, metadata: Mapping[str, str], timeout_s: float) -> Reply:
        stream = self._channel.request(
            path, Cardinality.UNARY_UNARY, bytes, bytes, timeout=timeout_s, metadata=metadata
        )
        try:
            return await _exchange(stream, request)
        except RpcError:
            raise
        except GRPCError as error:
            details = error.details if isinstance(error.details, bytes) else None
            raise RpcError.from_status(error.status, error.message or "", details) from error
        except TimeoutError as error:
            raise NoAnswer(Code.DEADLINE_EXCEEDED, f"no answer to {path} in time") from error
        except Exception as error:
            # Refused, reset, lost in the middle, broken off by the protocol: no answer came, that is all one can know.
            message = f"no answer from {self._address}: {_reason(error)}"
            if _is_not_reached(error):
                raise NotReached(message) from error
            raise NoAnswer(Code.UNAVAILABLE, message) from error


def _is_not_reached(error: Exception) -> bool:
    """An established connection that is lost shows as grpclib's own error, never as one of these."""
    if isinstance(error, ConnectionRefusedError | socket.gaierror):
        return True
    return isinstance(error, OSError) and error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH)


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        from sagagen.runtime.trust.explaining import explained

        return explained(error)
    return str(error) or type(error).__name__


def _channel(host: str, port: int, tls: ClientTls | None) -> Channel:
    context, server = (tls.context, tls.server) if tls else (None, None)
    if is_plain("grpclib"):
        config = Configuration(ssl_target_name_override=server)
        return Channel(
            host, port, codec=PassThrough(), status_details_codec=RawDetails(), ssl=context, config=config
        )
    from sagagen.runtime.transports.grpc.fast.channel import MeshChannel, kept_alive
    from sagagen.runtime.transports.grpc.fast.protocol import h2_class

    h2_class()  # decided now, not within the first call
    config = kept_alive(server)
    return MeshChannel(
        host, port, codec=PassThrough(), status_details_codec=RawDetails(), ssl=context, config=config
    )


def _cancellations() -> int:
    task = asyncio.current_task()
    return task.cancelling() if task else 0


async def _exchange(stream: Stream[bytes, bytes], request: bytes) -> Reply:
    async with stream:
        await stream.send_message(request, end=True)
        response = await stream.recv_message()
        await stream.recv_trailing_metadata()
    if response is None:
        raise RpcError(Code.INTERNAL, "the answer has no message")
    check_size(len(response))
    return Reply(response, text_entries(stream.trailing_metadata))
