"""grpclib's HTTP/2 connection, of either side: a short way for unary calls, one write for what is sent at once."""

import asyncio
from collections.abc import Callable
from functools import partial
from ssl import SSLError
from typing import Any, Self, cast

import structlog
from grpclib.protocol import AbstractHandler, Connection, EventsProcessor, H2Protocol, Stream
from h2.connection import H2Connection
from h2.events import Event, StreamReset
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes

from sagagen.runtime.plain import is_plain
from sagagen.runtime.taken import Taken, unsent_bytes
from sagagen.runtime.transports.grpc.fast.streams import MeshConnection

_TYPE, _FLAGS = 3, 4
"""Where they stand in a frame (RFC 9113, 4.1)."""
_HEADERS = 1
"""DATA is 0."""
_END_STREAM = 1

_TLS_ALERT = b"\x15\x03"
"""How an alert begins (RFC 8446, 5.1): what a server of TLS says to a client that speaks none."""
_TLS_WANTED = "the peer speaks TLS, and this side does not: is SAGAGEN_TLS_DIR set on both?"

_SILENT = (
    "Connection lost before the peer said anything: it may want TLS (SAGAGEN_TLS_DIR), or another certificate; "
    "its log says so"
)
"""Event loops close a connection whose handshake fails before they have told the other side why."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class _Meanings(dict[type[Event], Callable[[Any], None]]):
    """What is done at each event. What nobody knows is ignored (RFC 9113, 5.5): grpclib raises, which ends the
    connection with a traceback.
    """

    def __missing__(self, event: type[Event]) -> Callable[[Any], None]:
        return lambda _: _logger.debug("an event of no meaning here", frame=event.__name__)


class MeshProcessor(EventsProcessor):
    """grpclib's, which forgets a stream that was reset.

    The task of a stream whose reset comes with its request is cancelled before its first turn, and releases nothing.
    """

    def __init__(self, handler: AbstractHandler, connection: Connection) -> None:
        super().__init__(handler, connection)
        self.processors = cast(Any, _Meanings(self.processors))

    def register(self, stream: Stream) -> Callable[[], None]:
        self.streams[stream.id or 0] = stream
        return partial(self._release, stream)

    def _release(self, stream: Stream) -> None:
        """Of a stream that was reset nothing is left to release."""
        if self.streams.pop(stream.id or 0, None) is None:
            return
        self.connection.stream_close_waiter.set()
        unread = stream.buffer.unacked_size()
        if unread and not self.connection.is_closing():
            self.connection.ack(stream.id or 0, unread)

    def process_stream_reset(self, event: StreamReset) -> None:
        stream = self.streams.get(event.stream_id or 0)
        super().process_stream_reset(event)
        if stream is not None and self.streams.pop(event.stream_id or 0, None):
            self.connection.stream_close_waiter.set()
            if not self.connection.is_closing():
                self.connection.ack(event.stream_id or 0, stream.buffer.unacked_size())


class MeshProtocol(H2Protocol):
    """One connection."""

    PROCESSOR: type[MeshProcessor] = MeshProcessor
    _is_heard = False
    """The peer has said something."""

    @classmethod
    def instead_of(cls, protocol: H2Protocol) -> Self:
        """The same as one of grpclib's that is not connected yet."""
        return cls(protocol.handler, protocol.config, protocol.h2_config)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As grpclib's, which has no place for another connection than h2's own; event loops set TCP_NODELAY."""
        self.h2_config.header_encoding = "utf-8"  # grpclib asks for ASCII
        h2 = h2_class()(self.h2_config)
        h2.initiate_connection()
        default = h2.local_settings.initial_window_size
        if more := self.config.http2_connection_window_size - default:
            h2.increment_flow_control_window(more)
        if self.config.http2_stream_window_size != default:
            h2.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: self.config.http2_stream_window_size})
        self.h2 = h2
        self.collected = CollectedWrites(cast(asyncio.Transport, transport), h2)
        self.connection = MeshConnection(h2, self.collected, config=self.config)
        self.connection.flush()
        self.connection.initialize()
        self.processor = self.PROCESSOR(self.handler, self.connection)

    def connection_lost(self, exc: BaseException | None) -> None:
        """As grpclib's, which keeps to itself what there is to say of TLS."""
        if isinstance(exc, SSLError):
            from sagagen.runtime.trust.explaining import explained

            self.processor.close(f"Connection lost: {explained(exc)}")
        elif not self._is_heard:
            self.processor.close(_SILENT)
        else:
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """As grpclib's, which asks h2 for what it has to say before the events too; it says it in the same order."""
        self._is_heard = True
        try:
            events = self.h2.receive_data(data)
        except ProtocolError as error:
            _logger.debug("a peer broke the rules of HTTP/2", error=repr(error))
            self.processor.close(_TLS_WANTED if data.startswith(_TLS_ALERT) else "Protocol error")
            return
        for event in events:
            self.processor.process(event)
        if said := self.h2.data_to_send():
            self.collected.write(said)


def h2_class() -> type[H2Connection]:
    """The connection that takes frames: ours, where it is wanted and fits. Asked first when a process starts."""
    if is_plain("h2"):
        return H2Connection
    from sagagen.runtime.transports.grpc.fast.self_test import is_as_h2

    if not is_as_h2():
        return H2Connection
    from sagagen.runtime.transports.grpc.fast.frames import UnaryConnection

    return UnaryConnection


class CollectedWrites:
    """A transport that sends a request, or an answer, in one write.

    grpclib writes each frame by itself: two for a request, three for an answer. Each would be a system call, a packet,
    and a turn of the other side's event loop. What ends no stream waits until the event loop turns, and no longer.
    """

    def __init__(self, transport: asyncio.Transport, h2: H2Connection) -> None:
        self._transport = transport
        self.is_closing: Callable[[], bool] = transport.is_closing
        """The transport's own: each call asks a few times."""
        self._h2 = h2
        self._loop = asyncio.get_running_loop()
        self._frames: list[bytes] = []
        self._later: asyncio.Handle | None = None
        """Sends them when the event loop turns."""
        self.taken = Taken(transport)

    def write(self, data: bytes) -> None:
        self._frames.append(data)
        # A request or an answer is whole with DATA or HEADERS that have END_STREAM (RFC 9113, 6.1 and 6.2).
        if data[_TYPE] <= _HEADERS and data[_FLAGS] & _END_STREAM:
            self._send()
        elif self._later is None:
            self._later = self._loop.call_soon(self._send)

    def close(self) -> None:
        # When a peer breaks the rules, grpclib leaves GOAWAY there.
        self._frames.append(self._h2.data_to_send())
        self._send()
        self._transport.close()
        if unsent_bytes(self._transport):
            self.taken.await_peer()

    def _send(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None
        frames, self._frames = self._frames, []
        if frames and not self.is_closing():
            data = b"".join(frames)
            self.taken.written_bytes += len(data)
            try:
                self._transport.write(data)
            except (RuntimeError, OSError) as error:
                # uvloop's transport may be closed and not say so yet; that the connection is lost is told elsewhere.
                _logger.debug("nothing is written to a connection that is lost", error=repr(error))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
