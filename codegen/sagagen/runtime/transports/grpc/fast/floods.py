"""A service's side of a connection, which lets nobody flood it, keep it waiting, or leave what it sends.

A client may reset what it has asked for; each time costs it a few bytes, and the server a task (CVE-2023-44487). One
that does so endlessly is told to calm down, and its connection ends.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from grpclib.protocol import H2Protocol
from grpclib.server import Handler
from h2.errors import ErrorCodes
from h2.events import RequestReceived, StreamReset
from h2.exceptions import StreamClosedError

from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.transports.grpc.fast.protocol import MeshProcessor, MeshProtocol

if TYPE_CHECKING:
    from sagagen.runtime.transports.grpc.tenure import Tenure
    from sagagen.runtime.trust.callers import Callers

MAX_CONNECTIONS = 1_000
"""To one service. One more ends the connection that has been idle longest; where none is, it is turned away."""
BEGIN_S = 10.0
"""Time in seconds that a connection may be open before its first call."""
SWEEP_S = 0.5
"""Time in seconds after which what was reset is forgotten."""
RESETS = 1_000
"""Streams that a client may reset at once."""
RESETS_PER_S = 100.0
"""And as many more each second. A gateway resets what it has waited for too long: at most 64 calls at a time."""


class Allowance:
    """So many at once, and so many more each second."""

    def __init__(self, at_once: float, per_s: float, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._left = self._most = at_once
        self._per_s = per_s
        self._clock_s = clock_s
        self._counted_at_s = clock_s()

    def take(self) -> bool:
        """Take one; false if there is none."""
        now_s = self._clock_s()
        self._left = min(self._most, self._left + (now_s - self._counted_at_s) * self._per_s) - 1
        self._counted_at_s = now_s
        return self._left >= 0


class ServerProcessor(MeshProcessor):
    """Counts what a client resets."""

    resets: Allowance
    on_flood: Callable[[], None]
    reset: Callable[[int, ErrorCodes], None]
    _sweep: asyncio.TimerHandle | None = None

    def process_request_received(self, event: RequestReceived) -> None:
        """A request without its pseudo-headers is malformed (RFC 9113, 8.3.1); grpclib would log a KeyError.

        Binary metadata are left out, since no code here reads them: grpclib would log each value that is not base64.
        """
        headers: Any = event.headers
        names = [name for name, _ in headers]
        text = "\n".join(names)  # is looked through sooner than each name
        if "-bin\n" in text or text.endswith("-bin"):
            kept: Any = [header for header in headers if header[0][-4:] != "-bin"]
            event.headers = kept
        if ":method" in names and ":path" in names:
            super().process_request_received(event)
        else:
            with suppress(StreamClosedError):  # it has been reset in the same breath
                self.reset(event.stream_id or 0, ErrorCodes.PROTOCOL_ERROR)

    def process_stream_reset(self, event: StreamReset) -> None:
        super().process_stream_reset(event)
        self.sweep()
        if event.remote_reset and not self.resets.take():
            self.on_flood()

    def sweep(self) -> None:
        """Soon, and once for all that is reset until then."""
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(SWEEP_S, self._forget_tasks)

    def _forget_tasks(self) -> None:
        """Those that were cancelled, with all that their requests held: grpclib does so at the tenth call from here."""
        self._sweep = None
        cast(Handler, self.handler).__gc_collect__()


class ServerProtocol(MeshProtocol):
    """One connection to a service."""

    PROCESSOR = ServerProcessor
    others: "OpenConnections"
    callers: "Callers | None" = None
    """Decides about callers; None: anybody may call."""
    _tenure: "Tenure | None" = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self.callers is not None:
            self._judge(self.callers, transport)
        self._raw = cast(asyncio.Transport, transport)
        self._opened_at_s = time.monotonic()
        processor = cast(ServerProcessor, self.processor)
        processor.resets, processor.on_flood = Allowance(RESETS, RESETS_PER_S), self._calm
        processor.reset = self.h2.reset_stream
        self._timer = asyncio.get_running_loop().call_later(BEGIN_S, self._look)
        if not self.others.enter(self):
            self._raw.abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._timer.cancel()
        if self._tenure is not None:
            self._tenure.cancel()
        self.collected.taken.stop_waiting()
        self.others.leave(self)
        super().connection_lost(exc)
        cast(ServerProcessor, self.processor).sweep()

    def pause_writing(self) -> None:
        """The client does not take what is sent: what it asks meanwhile would pile up too."""
        super().pause_writing()
        self._raw.pause_reading()
        self.collected.taken.await_peer()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.collected.taken.stop_waiting()
        if not self._raw.is_closing():
            self._raw.resume_reading()

    @property
    def used_at_s(self) -> float:
        """When a call came last, or the connection itself; on the clock that never jumps."""
        return self.connection.last_data_received or self._opened_at_s

    @property
    def is_idle(self) -> bool:
        return not self.processor.streams

    def end(self, error: ErrorCodes, reason: str) -> None:
        """GOAWAY, and the end of all that is under way."""
        if not self._raw.is_closing():
            self.h2.close_connection(error)
            self.processor.close(reason)

    def _judge(self, callers: "Callers", transport: asyncio.BaseTransport) -> None:
        """Once, for all calls of the connection: of what is refused none finds a handler."""
        from sagagen.runtime.transports.grpc.refusing import shown
        from sagagen.runtime.transports.grpc.tenure import Tenure

        peer = callers.judged(*shown(transport))
        if isinstance(peer, RpcError):
            self._refuse(peer)
            return
        self._tenure = Tenure(
            peer,
            is_idle=lambda: self.is_idle,
            refuse=lambda: self._refuse(callers.expired(peer)),
            end=lambda: self.end(ErrorCodes.NO_ERROR, "the connection has lived long enough"),
        )

    def _refuse(self, refusal: RpcError) -> None:
        from sagagen.runtime.transports.grpc.refusing import RefusedCalls

        cast(Handler, self.handler).mapping = RefusedCalls(refusal)

    def _calm(self) -> None:
        self.end(ErrorCodes.ENHANCE_YOUR_CALM, "the client resets too much")

    def _look(self) -> None:
        if not self.h2.highest_inbound_stream_id:
            self.end(ErrorCodes.NO_ERROR, "no call has come")


class OpenConnections:
    """Of one server."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open: set[ServerProtocol] = set()

    def enter(self, connection: ServerProtocol) -> bool:
        """False if there is no room for it."""
        if len(self._open) >= self._limit and not self._made_room():
            return False
        self._open.add(connection)
        return True

    def leave(self, connection: ServerProtocol) -> None:
        self._open.discard(connection)

    def end(self) -> None:
        """Close all."""
        for connection in tuple(self._open):
            connection.processor.close("the service has stopped")

    def _made_room(self) -> bool:
        idle = min(
            (each for each in self._open if each.is_idle), key=lambda each: each.used_at_s, default=None
        )
        if idle is None:
            return False
        self._open.discard(idle)
        idle.end(ErrorCodes.NO_ERROR, "others need its place")
        return True


def guarded(protocol: H2Protocol, others: OpenConnections, callers: "Callers | None") -> ServerProtocol:
    """The same as one of grpclib's that is not connected yet."""
    connection = ServerProtocol.instead_of(protocol)
    connection.others = others
    connection.callers = callers
    return connection
