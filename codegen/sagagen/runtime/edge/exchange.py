"""One HTTP request on its way through the gateway: what every endpoint gets, and how its answer leaves."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from sagagen.runtime.contained import as_logged, is_cancelled
from sagagen.runtime.edge.answer import Answer
from sagagen.runtime.edge.content import check_content
from sagagen.runtime.edge.problem import Problem, ProblemError
from sagagen.runtime.rpc.trace import SAMPLED, TraceContext, received
from sagagen.runtime.telemetry import spans as tracing

_TRACE_HEADERS = frozenset({b"traceparent", b"tracestate"})

CLOSING = "sagagen.closing"
"""Key of the ASGI state under which a server keeps the future that is done once it stops."""
TRUSTS = "sagagen.trusts"
"""Key of the ASGI state under which a server keeps the function that says whether a client's address is trusted."""
TRACE = "sagagen.trace"
"""Key of the ASGI scope that holds the request's TraceContext."""
PARENT_SPAN = "sagagen.parent_span"
"""Key of the ASGI scope that holds the id of the sender's span; empty if it sent none."""
LINKED = "sagagen.linked"
"""Key of the ASGI scope that holds the place in a trace which a stranger sent."""
ROUTE = "sagagen.route"
"""Key of the ASGI scope that holds the template of the route, once it is found."""
ORIGIN_ALLOWED = "sagagen.origin_allowed"
"""Key of the ASGI scope that is there where the page that sent the request may call the gateway."""
SAGA = "sagagen.saga"
"""Key of the ASGI scope that holds the attributes of the saga that the request started or repeated."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request, with what was found out about it."""

    request: Request
    values: Mapping[str, str]
    """Decoded variables of the path."""
    trace: TraceContext

    @property
    def closing(self) -> "asyncio.Future[None] | None":
        """Done once the server stops: every wait ends then. None under a server that is not ours."""
        state = self.request.scope.get("state")
        return state.get(CLOSING) if state else None

    @property
    def query(self) -> bytes:
        return self.request.scope["query_string"]

    async def body(self, max_bytes: int) -> bytes:
        """The whole body.

        Raises ProblemError if it is no plain JSON, if it is too large, if there is one where none is read (`max_bytes`
        is 0), or if the client left before it was here.
        """
        headers = self.request.headers
        length = headers.get("content-length", "")
        if not max_bytes and length in ("", "0") and "transfer-encoding" not in headers:
            return b""
        if max_bytes:
            check_content(headers)
        if length.isascii() and length.isdigit() and int(length[:20]) > max_bytes:
            raise _too_much(max_bytes)
        return await self._read_body(max_bytes)

    async def _read_body(self, max_bytes: int) -> bytes:
        chunks: list[bytes] = []
        left = max_bytes
        try:
            async for chunk in self.request.stream():
                left -= len(chunk)
                if left < 0:
                    raise _too_much(max_bytes)
                chunks.append(chunk)
        except HTTPException as error:  # of the server, which reads no more of any request
            raise _too_much(max_bytes) from error
        except ClientDisconnect as error:
            raise ProblemError(
                Problem(
                    499, "CANCELLED", "CLIENT_CLOSED_REQUEST", "the client left before its request was here"
                )
            ) from error
        return b"".join(chunks)


def _too_much(max_bytes: int) -> ProblemError:
    if not max_bytes:
        detail = "this route reads no body (it has no `body` in its google.api.http option); send none"
        return ProblemError(Problem(400, "INVALID_ARGUMENT", "UNEXPECTED_BODY", detail))
    detail = f"the request's body is larger than the {max_bytes} bytes that this route takes"
    return ProblemError(Problem(413, "RESOURCE_EXHAUSTED", "REQUEST_TOO_LARGE", detail))


Endpoint = Callable[[Exchange], Awaitable[Answer]]
"""Answers a request, or raises ProblemError."""


class HookFailed(Exception):
    """A hook of gateway/app.py raised what ends a process, or looks as if the request had been cancelled."""

    def __init__(self, hook: str, error: BaseException) -> None:
        super().__init__(f"{hook} raised {type(error).__name__}, which no request may")


class Contained:
    """An ASGI application, middleware and routes of the project, that raises nothing but Exceptions."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except Exception:
            raise
        except BaseException as error:
            if is_cancelled(error):
                raise
            raise HookFailed("a middleware or a route of the project", error) from as_logged(error)


def trace_of(scope: Scope) -> TraceContext:
    """The span of a request: a child of its sender's, or the first of a trace. Decided at the first call.

    A stranger's trace is only linked to: docs/decisions/158-whose-trace-is-continued.md
    """
    if TRACE not in scope:
        sent = _sent_trace(scope)
        parent = sent if sent and _is_trusted(scope) else None
        scope[LINKED] = (sent,) if sent and not parent else ()
        trace = parent.child() if parent else TraceContext.new()
        if spans := tracing.active():
            trace = trace._replace(flags=SAMPLED if spans.samples(trace, parent) else 0)
        scope[TRACE], scope[PARENT_SPAN] = trace, parent.span_id if parent else ""
    return scope[TRACE]


def _sent_trace(scope: Scope) -> TraceContext | None:
    return received(
        {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name in _TRACE_HEADERS
        }
    )


def _is_trusted(scope: Scope) -> bool:
    state: Mapping[str, Any] = scope.get("state") or {}
    client = scope.get("client")
    return TRUSTS in state and client is not None and bool(state[TRUSTS](client[0]))


def traceparent(trace: TraceContext, trace_id: str = "") -> tuple[str, str]:
    """The header that says where an answer was made; with the trace of its saga if that is another one."""
    return "traceparent", f"00-{trace_id or trace.trace_id}-{trace.span_id}-{trace.flags:02x}"


def to_response(answer: Answer) -> Response:
    response = Response(answer.body, answer.status)
    for name, value in answer.headers:
        if name == "www-authenticate":  # each scheme has its own
            response.headers.append(name, value)
        else:
            response.headers[name] = value
    return response
