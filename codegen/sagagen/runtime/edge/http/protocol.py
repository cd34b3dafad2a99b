"""Uvicorn's HTTP/1.1 connection, with an end to every wait: for a request's head, for its body, for endless heads, and
for a client to take its answer.

A client that sends a byte a minute would otherwise keep its connection for ever. The timer runs only while it is the
client that is waited for: not while a request is answered, nor while reading is paused because we are behind.
"""

import asyncio
from enum import Enum
from typing import Any, cast

from uvicorn import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from sagagen.runtime.edge.http.connections import MAX_DISMISSED, Connections
from sagagen.runtime.edge.http.door import Door
from sagagen.runtime.edge.http.headers import LINES
from sagagen.runtime.edge.http.limits import MAX_HEADER_BYTES, MAX_URL_BYTES, Patience
from sagagen.runtime.edge.http.offers import CONNECT, OfferBlindParser
from sagagen.runtime.edge.http.outgoing import Outgoing
from sagagen.runtime.edge.problem import Problem, phrase, retry_after

MAX_HEAD_BYTES = 2 * (MAX_URL_BYTES + MAX_HEADER_BYTES)
"""An unfinished head beyond it ends the connection; a finished one is measured by `Limits`. The same holds for what
stands between two parts of a body in chunks, or behind the last of them: sizes, extensions and trailer fields."""


_DISMISSED_S = 1.0
"""Time in seconds that a client whose connection is one too many has to read so."""


_SLICE_BYTES = 8 * 1024
"""Of what has come, read at a time: requests are put in line by the hundred, and not by the ten thousand."""


class _Reading(FlowControl):
    """Whether more is read from the client. Uvicorn reads on at each answer, and whenever a body is asked for, however
    many requests wait in line: a client that sends nothing but heads would fill the memory."""

    is_held: bool = False

    def hold(self) -> None:
        """Read nothing until released."""
        self.is_held = True
        self.pause_reading()

    def release(self) -> None:
        self.is_held = False
        self.resume_reading()

    def resume_reading(self) -> None:
        if not self.is_held:
            super().resume_reading()


class _Stage(Enum):
    """What part of a request is being received."""

    BETWEEN = "none: the last one is here, the next has not begun"
    HEAD = "request line and headers"
    BODY = "body"


class EdgeProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        patience: Patience,
        open_connections: Connections,
        door: Door | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.parser = cast(Any, OfferBlindParser(self))
        self._patience = patience
        self._door = door
        self._is_turned_away = False
        """The request that is being received has no cycle: only its answer waits for its end."""
        self._open_connections = open_connections
        self._address = ""
        self._is_admitted = False
        self._timer: asyncio.TimerHandle | None = None
        self._stage = _Stage.BETWEEN
        self._counted_bytes = 0
        """Of the head; then of what has come since the last part of the body."""
        self._held = b""
        """Has come, and is not read before the requests that came before it are answered."""
        self._has_body = False
        """A part of a body is in the data that is being read."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as in uvicorn
        super().connection_made(transport)
        self.transport = cast(asyncio.Transport, Outgoing(transport, self._patience.answer_s))
        self.flow = _Reading(transport)
        self._address = self.client[0] if self.client else ""
        if reason := self._open_connections.enter(self._address):
            self._dismiss(reason)
            return
        self._is_admitted = True
        self._wait(self._patience.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        self._outgoing.taken.stop_waiting()
        if self._is_admitted:
            self._open_connections.leave(self._address)
        else:
            self._open_connections.dismissed -= 1
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._outgoing.taken.await_peer()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._outgoing.taken.stop_waiting()
        self._read_on()

    def data_received(self, data: bytes) -> None:
        if not self._is_admitted:  # it has its answer; what it still sends is thrown away
            return
        data, self._held = self._held + data if self._held else data, b""
        for begin in range(0, len(data), _SLICE_BYTES):
            if self.transport.is_closing():
                return
            if self._must_wait:
                self._held = data[begin:]
                self._reading.hold()
                return
            self._read(data[begin : begin + _SLICE_BYTES])

    @property
    def _must_wait(self) -> bool:
        """Requests are in line; or the client takes no answers, so that those to further requests would pile up."""
        is_needed = self._stage is _Stage.BODY and not self._is_turned_away
        return bool(self.pipeline) or (self.flow.write_paused and not is_needed)

    def _read(self, data: bytes) -> None:
        before, self._has_body = self._stage, False
        super().data_received(data)
        # Data that holds several of head, body and trailer fields are not counted: their parts can't be told apart.
        is_one_stage = self._stage is before or before is _Stage.BETWEEN
        if is_one_stage and not self._has_body and self._stage is not _Stage.BETWEEN:
            self._count(len(data))
        # Empty lines between requests end uvicorn's keep-alive timer and begin no request.
        if self._timer is None and self._is_idle and not self.transport.is_closing():
            self._wait(self._patience.head_s)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._read_on()

    def _read_on(self) -> None:
        if self._reading.is_held and not self._must_wait and not self.transport.is_closing():
            self._reading.release()
            self.data_received(b"")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._stage, self._counted_bytes = _Stage.HEAD, 0
        self._wait(self._patience.head_s)

    def on_headers_complete(self) -> None:
        if self._parser.has_offer:
            return
        if self._parser.get_method() == CONNECT:
            self._refuse(Problem(501, "UNIMPLEMENTED", "NO_TUNNEL", "this server makes no tunnels"))
            return
        self._stage, self._counted_bytes = _Stage.BODY, 0
        self._wait(self._patience.body_s)
        if self._door and self._door.is_shut_for(self._parser.get_method()) and self._is_refused_here:
            self._is_turned_away = True
        else:
            super().on_headers_complete()
            if self._door:
                self._door.let_in(self.loop)
        # Trailer fields come by the same callback. The application has the list that was there (RFC 9110, 6.5.1).
        self.headers = []

    @property
    def _is_refused_here(self) -> bool:
        """Not what waits for an answer before it, nor for a 100; and not a page's request, whose answer needs CORS."""
        return (
            self._is_idle
            and not self.expect_100_continue
            and not any(name == b"origin" for name, _ in self.headers)
        )

    def on_body(self, body: bytes) -> None:
        self._has_body, self._counted_bytes = True, 0
        if not self._is_turned_away:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._stage is _Stage.HEAD:  # an offer, or CONNECT
            return
        self._stage = _Stage.BETWEEN
        self._stop_waiting()
        if self._is_turned_away:
            self._turn_away()
        else:
            super().on_message_complete()

    def _turn_away(self) -> None:
        assert self._door, "it is what turns away"
        self._is_turned_away = False
        self.transport.write(self._door.refuse())
        if not self._parser.should_keep_alive():
            self.transport.close()

    def send_400_response(self, msg: str) -> None:
        """What can't be parsed as HTTP."""
        self._refuse(Problem(400, "INVALID_ARGUMENT", "INVALID_HTTP", "the request is no HTTP/1.1"))

    @property
    def _parser(self) -> OfferBlindParser:
        return cast(OfferBlindParser, self.parser)

    @property
    def _reading(self) -> "_Reading":
        return cast(_Reading, self.flow)

    @property
    def _outgoing(self) -> Outgoing:
        return cast(Outgoing, self.transport)

    @property
    def _is_idle(self) -> bool:
        """No request is being answered."""
        return self.cycle is None or self.cycle.response_complete  # pyright: ignore[reportUnnecessaryComparison] - None at first

    def _count(self, size: int) -> None:
        self._counted_bytes += size
        if self._counted_bytes > MAX_HEAD_BYTES:
            detail = f"the request has more than {MAX_HEAD_BYTES} bytes of head, or of trailer fields"
            self._refuse(Problem(431, "RESOURCE_EXHAUSTED", "REQUEST_TOO_LARGE", detail))

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(seconds, self._on_timeout, seconds)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timeout(self, seconds: float) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        is_answering = not self._is_idle and (self._stage is not _Stage.BODY or self.cycle.response_started)
        if self.flow.read_paused or is_answering:
            self._wait(seconds)
        elif self._stage is _Stage.HEAD or not self._is_idle:
            detail = "the request took too long to arrive"
            self._refuse(Problem(408, "DEADLINE_EXCEEDED", "REQUEST_TIMEOUT", detail))
        else:  # nothing was asked, or what was asked has its answer and only the rest of its body is missing
            self.transport.close()

    def _end_after_answers(self) -> None:
        """Requests before this one are being answered: their answers come first, and with the last of them the end."""
        self.flow.pause_reading()
        self.cycle.keep_alive = False

    def _dismiss(self, reason: str) -> None:
        """Say why, and wait a moment for the client to read it: what it sends meanwhile would reset the connection."""
        self._open_connections.dismissed += 1
        if self._open_connections.dismissed > MAX_DISMISSED:
            self.transport.abort()
            return
        self._answer(Problem(503, "RESOURCE_EXHAUSTED", "OVERLOADED", reason, headers=(retry_after(),)))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._timer = self.loop.call_later(_DISMISSED_S, self.transport.abort)

    def _refuse(self, problem: Problem) -> None:
        """Answer outside the application, and close: what follows on this connection can't be read."""
        if self.transport.is_closing():
            return
        if self._stage is not _Stage.BODY and not self._is_idle:
            self._end_after_answers()
            return
        is_answered = self._stage is _Stage.BODY and not self._is_turned_away and self.cycle.response_started
        if not is_answered:
            self._answer(problem)
        self.transport.close()

    def _answer(self, problem: Problem) -> None:
        body = problem.body()
        fields = [
            f"HTTP/1.1 {problem.status} {phrase(problem.status)}",
            "content-type: application/problem+json",
            *LINES,
            *(f"{name}: {value}" for name, value in problem.headers),
        ]
        lines = [*fields, f"content-length: {len(body)}", "connection: close", "", ""]
        self.transport.write("\r\n".join(lines).encode("ascii") + body)
