"""How large a request may be, and how long it may take to arrive.

`Limits` wraps a whole application, so that nothing behind it ever holds more.
"""

from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sagagen.runtime.edge.exchange import trace_of, traceparent
from sagagen.runtime.edge.problem import Problem

MAX_BODY_BYTES = 1024 * 1024
MAX_URL_BYTES = 8 * 1024
MAX_HEADER_BYTES = 32 * 1024
"""All names and values together."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client is waited for, in seconds."""

    head_s: float = 10.0
    """For a request's head, from its first byte, or from the connection's start."""
    body_s: float = 30.0
    """For a request's body, from the end of its head."""
    answer_s: float = 30.0
    """For each piece of an answer to be taken, once the client is behind."""


DEFAULT_PATIENCE = Patience()


class BodyTooLarge(HTTPException):
    """A body without a declared length went beyond the limit while it was read."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(413, _detail(max_bytes))


class Limits:
    """Refuses what is too large: 413, 414 and 431, each as a problem document.

    The rest of a refused body is read and thrown away by the server, so that a client that first sends all of it still
    finds its answer.
    """

    def __init__(self, app: ASGIApp, *, max_body_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif problem := self._problem(scope):
            await _send(problem, scope, send)
        else:
            await self._counted(scope, receive, send)

    def _problem(self, scope: Scope) -> Problem | None:
        if len(scope.get("raw_path", b"")) + len(scope["query_string"]) > MAX_URL_BYTES:
            return _too_large(414, f"the request's path and query are longer than {MAX_URL_BYTES} bytes")
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
            return _too_large(431, f"the request's headers are longer than {MAX_HEADER_BYTES} bytes")
        length = Headers(scope=scope).get("content-length", "0")
        if length.isascii() and length.isdigit() and int(length[:20]) > self._max_body_bytes:
            return _too_large(413, _detail(self._max_body_bytes))
        return None

    async def _counted(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A body that comes in chunks is counted as it comes."""
        read_bytes = 0
        is_answered = False

        async def counted_receive() -> Message:
            nonlocal read_bytes
            message = await receive()
            read_bytes += len(message.get("body", b""))
            if read_bytes > self._max_body_bytes:
                raise BodyTooLarge(self._max_body_bytes)
            return message

        async def watched_send(message: Message) -> None:
            nonlocal is_answered
            is_answered = True
            await send(message)

        try:
            await self._app(scope, counted_receive, watched_send)
        except BodyTooLarge as error:
            # An application that turns HTTPException into an answer has done so already; any other gets this one.
            if not is_answered:
                await _send(_too_large(413, error.detail), scope, send)


def _detail(max_bytes: int) -> str:
    return f"the request's body is larger than {max_bytes} bytes"


def _too_large(status: int, detail: str) -> Problem:
    return Problem(status, "RESOURCE_EXHAUSTED", "REQUEST_TOO_LARGE", detail)


async def _send(problem: Problem, scope: Scope, send: Send) -> None:
    trace = trace_of(scope)
    answer = problem.in_trace(trace.trace_id).answer()
    all_headers = (*answer.headers, traceparent(trace))
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in all_headers]
    length = (b"content-length", str(len(answer.body)).encode())
    await send({"type": "http.response.start", "status": answer.status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": answer.body})
