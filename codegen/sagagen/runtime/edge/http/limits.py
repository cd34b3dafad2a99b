"""How large a request may be, and how long it may take to arrive.

`Limits` wraps a whole application, so that nothing behind it ever holds more.
"""

import asyncio
import re
from dataclasses import dataclass

import structlog
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sagagen.runtime.edge.exchange import trace_of, traceparent
from sagagen.runtime.edge.http.headers import with_defaults
from sagagen.runtime.edge.problem import Problem, retry_after
from sagagen.runtime.model.definition import LARGEST_BODY_BYTES
from sagagen.runtime.taken import TAKEN_WITHIN_S

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

MAX_BODY_BYTES = LARGEST_BODY_BYTES
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
    answer_s: float = TAKEN_WITHIN_S
    """For each piece of an answer to be taken, once the client is behind."""


DEFAULT_PATIENCE = Patience()


class BodyTooLarge(HTTPException):
    """A body without a declared length went beyond the limit while it was read."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(413, _detail(max_bytes))


REFUSAL = "sagagen.refusal"
"""Key of the ASGI scope that holds the Problem with which a request is to be refused."""


class AnswersRefusals:
    """An application that answers REFUSAL itself, from within the project's middleware: a page of another origin may
    read the answer only if CORS middleware has seen it. It finds no body."""


class Limits:
    """Refuses what is too large, and what names no host: 400, 413, 414 and 431, each as a problem document.

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
            await self._refuse(problem, scope, receive, send)
        else:
            await self._contained(scope, _Counted(receive, self._max_body_bytes), send)

    def _problem(self, scope: Scope) -> Problem | None:
        if len(scope.get("raw_path", b"")) + len(scope["query_string"]) > MAX_URL_BYTES:
            return _too_large(414, f"the request's path and query are longer than {MAX_URL_BYTES} bytes")
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
            return _too_large(431, f"the request's headers are longer than {MAX_HEADER_BYTES} bytes")
        if not _has_host(scope):
            return Problem(400, "INVALID_ARGUMENT", "INVALID_HOST", "the request needs one valid Host header")
        length = Headers(scope=scope).get("content-length", "0")
        if length.isascii() and length.isdigit() and int(length[:20]) > self._max_body_bytes:
            return _too_large(413, _detail(self._max_body_bytes))
        return None

    async def _refuse(self, problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
        if not isinstance(self._app, AnswersRefusals):
            await _send(problem, scope, send)
            return
        scope[REFUSAL] = problem
        await self._contained(scope, _without_body(receive), send)

    async def _contained(self, scope: Scope, receive: Receive, send: Send) -> None:
        """A failure ends a connection only where its request has no whole answer: a client can't tell it otherwise."""
        is_begun = is_whole = False

        async def watched_send(message: Message) -> None:
            nonlocal is_begun, is_whole
            is_begun = True
            if message["type"] == "http.response.start":
                message["headers"] = with_defaults(message["headers"], is_secure=scope["scheme"] == "https")
            await send(message)
            is_whole = message["type"] == "http.response.body" and not message.get("more_body")

        try:
            await self._app(scope, receive, watched_send)
        except BodyTooLarge as error:
            # An application that turns HTTPException into an answer has done so already; any other gets this one.
            if not is_begun:
                await _send(_too_large(413, error.detail), scope, send)
        except ClientDisconnect:
            _logger.info("a client left before its request was here")
        except asyncio.CancelledError:
            # The server stops, and gives up what is under way. Of a request that is not here yet nothing was done.
            if is_begun or not isinstance(receive, _Counted) or receive.is_whole:
                raise
            await _send(_stopping(), scope, send)
        except Exception as error:
            if not is_whole:
                raise
            _logger.error("a request failed", trace_id=trace_of(scope).trace_id, exc_info=error)


class _Counted:
    """A body that comes in chunks is counted as it comes."""

    def __init__(self, receive: Receive, max_bytes: int) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._read_bytes = 0
        self.is_whole = False

    async def __call__(self) -> Message:
        message = await self._receive()
        self._read_bytes += len(message.get("body", b""))
        if self._read_bytes > self._max_bytes:
            raise BodyTooLarge(self._max_bytes)
        self.is_whole = not message.get("more_body")
        return message


def _stopping() -> Problem:
    detail = "the gateway is stopping, and your request was not here yet: nothing was accepted, send it again"
    return Problem(503, "UNAVAILABLE", "STOPPING", detail, headers=(retry_after(),))


def _has_host(scope: Scope) -> bool:
    """RFC 9112, 3.2: 400 for a request without Host, with several, and for a value that is none."""
    hosts = [value for name, value in scope["headers"] if name == b"host"]
    if not hosts:
        return scope["http_version"] == "1.0"
    return len(hosts) == 1 and _HOST.fullmatch(hosts[0]) is not None


_HOST = re.compile(rb"(?:[A-Za-z0-9\-._~!$&'()*+,;=%]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?")
"""uri-host and port of RFC 3986, 3.2.2."""


def _without_body(receive: Receive) -> Receive:
    """Drop the body of a request that was refused: no handler reads it."""
    is_read = False

    async def receive_nothing() -> Message:
        nonlocal is_read
        if not is_read:
            is_read = True
            return {"type": "http.request", "body": b"", "more_body": False}
        while (message := await receive())["type"] != "http.disconnect":
            pass
        return message

    return receive_nothing


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
    headers = with_defaults([*headers, length], is_secure=scope["scheme"] == "https")
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
