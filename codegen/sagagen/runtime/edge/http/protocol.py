"""Uvicorn's HTTP/1.1 connection, with an end to every wait: for a request's head, for its body, and for endless heads.

A client that sends a byte a minute would otherwise keep its connection for ever. The timer runs only while it is the
client that is waited for: not while a request is answered, nor while reading is paused because we are behind.
"""

import asyncio
from enum import Enum
from typing import Any, cast

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from sagagen.runtime.edge.http.limits import MAX_HEADER_BYTES, MAX_URL_BYTES, Patience
from sagagen.runtime.edge.problem import Problem, phrase

MAX_HEAD_BYTES = 2 * (MAX_URL_BYTES + MAX_HEADER_BYTES)
"""An unfinished head beyond it ends the connection; a finished one is measured by `Limits`."""


class OneWrite:
    """A transport that sends an answer's head together with what follows it.

    Uvicorn writes head and body one by one, and each write is a system call and a packet.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        if not self._head and data.startswith(b"HTTP/1.1 ") and data.endswith(b"\r\n\r\n"):
            self._head = data
            asyncio.get_running_loop().call_soon(self._send)  # where no body follows at once
        else:
            self._send(data)

    def close(self) -> None:
        self._send()
        self._transport.close()

    def _send(self, data: bytes = b"") -> None:
        data, self._head = self._head + data, b""
        if data and not self._transport.is_closing():
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


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
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._patience = patience
        self._timer: asyncio.TimerHandle | None = None
        self._stage = _Stage.BETWEEN
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as in uvicorn
        super().connection_made(transport)
        self.transport = cast(asyncio.Transport, OneWrite(transport))
        self._wait(self._patience.head_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self._stage
        super().data_received(data)
        # A chunk that ended an earlier body is not counted: the part of it that is head can't be told apart.
        if self._stage is _Stage.HEAD and before is not _Stage.BODY:
            self._count(len(data))
        # Empty lines between requests end uvicorn's keep-alive timer and begin no request.
        if self._timer is None and self._is_idle and not self.transport.is_closing():
            self._wait(self._patience.head_s)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._stage, self._head_bytes = _Stage.HEAD, 0
        self._wait(self._patience.head_s)

    def on_headers_complete(self) -> None:
        self._stage = _Stage.BODY
        self._wait(self._patience.body_s)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._stage = _Stage.BETWEEN
        self._stop_waiting()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What can't be parsed as HTTP."""
        self._refuse(Problem(400, "INVALID_ARGUMENT", "INVALID_HTTP", "the request is no HTTP/1.1"))

    @property
    def _is_idle(self) -> bool:
        """No request is being answered."""
        return self.cycle is None or self.cycle.response_complete  # pyright: ignore[reportUnnecessaryComparison] - None at first

    def _count(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > MAX_HEAD_BYTES:
            detail = f"the request's head is longer than {MAX_HEAD_BYTES} bytes"
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

    def _refuse(self, problem: Problem) -> None:
        """Answer outside the application, and close: what follows on this connection can't be read."""
        if self.transport.is_closing():
            return
        body = problem.body()
        head = [
            f"HTTP/1.1 {problem.status} {phrase(problem.status)}",
            "content-type: application/problem+json",
        ]
        lines = [*head, f"content-length: {len(body)}", "connection: close", "", ""]
        self.transport.write("\r\n".join(lines).encode("ascii") + body)
        self.transport.close()
