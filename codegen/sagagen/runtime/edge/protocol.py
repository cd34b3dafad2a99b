"""Uvicorn's HTTP/1.1 connection, with an end to every wait: for a request's head, for its body, and for endless heads.

A client that sends a byte a minute would otherwise keep its connection for ever. The timer runs only while it is the
client that is waited for: not while a request is answered, nor while reading is paused because we are behind.
"""

import asyncio
from typing import Any

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from sagagen.runtime.edge.limits import MAX_HEADER_BYTES, MAX_URL_BYTES
from sagagen.runtime.edge.problem import Problem, phrase

HEAD_S = 10.0
"""Time in seconds for a request's head, from its first byte, or from the connection's start."""
BODY_S = 30.0
"""Time in seconds for a request's body, from the end of its head."""
MAX_HEAD_BYTES = 2 * (MAX_URL_BYTES + MAX_HEADER_BYTES)
"""An unfinished head beyond it ends the connection; a finished one is measured by `Limits`."""


class EdgeProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._timer: asyncio.TimerHandle | None = None
        self._is_in_head = True
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as in uvicorn
        super().connection_made(transport)
        self._wait(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        was_in_head = self._is_in_head
        super().data_received(data)
        if was_in_head and self._is_in_head:
            self._count(len(data))
        # Empty lines between requests end uvicorn's keep-alive timer and begin no request.
        if self._timer is None and self._is_idle and not self.transport.is_closing():
            self._wait(HEAD_S)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_in_head, self._head_bytes = True, 0
        self._wait(HEAD_S)

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        self._wait(BODY_S)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
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
        is_answering = not self._is_idle and (self._is_in_head or self.cycle.response_started)
        if self.flow.read_paused or is_answering:
            self._wait(seconds)
        elif (self._is_in_head and not self._head_bytes) or (not self._is_in_head and self._is_idle):
            self.transport.close()
        else:
            self._refuse(
                Problem(408, "DEADLINE_EXCEEDED", "REQUEST_TIMEOUT", "the request took too long to arrive")
            )

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
