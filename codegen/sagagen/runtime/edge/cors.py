"""Which web pages may call the gateway: the origins of the contract's `security` section (CORS).

It wraps everything that answers, so that a page may read a refusal as well as a success; and it knows nothing of
credentials, which a page sends in headers (no cookie is read here). docs/decisions/218-origins-and-headers.md
"""

from collections.abc import Iterable, Sequence

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sagagen.runtime.edge.content import is_of_another_origin
from sagagen.runtime.edge.exchange import ORIGIN_ALLOWED, to_response, trace_of
from sagagen.runtime.edge.key import NAMES
from sagagen.runtime.edge.problem import Problem
from sagagen.runtime.model.security import ApiKeyScheme, Security
from sagagen.runtime.telemetry.metrics import REFUSED, child

MAX_AGE_S = 7200
"""How long a browser need not ask again; Chromium takes no more."""
SENT = ("authorization", "content-type", "grpc-timeout", *NAMES, "traceparent", "tracestate")
"""What a page may send, besides the headers of API keys."""
EXPOSED = ("link", "location", "retry-after", "traceparent", "idempotency-replayed", "www-authenticate")
"""What a page may read, besides what every page may."""

_VARY = (b"vary", b"Origin")
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_ALLOW_ORIGIN = b"access-control-allow-origin"

RawHeaders = tuple[tuple[bytes, bytes], ...]


class Cors:
    """An application for pages of some origins. Inside of what observes requests, outside of what answers them."""

    def __init__(self, app: ASGIApp, security: Security, methods: Iterable[str]) -> None:
        """`methods` are those of the routes."""
        self._app = app
        self._actual = {origin.encode(): _actual(origin) for origin in security.origins}
        allowed = _asked(sorted({"GET", *methods}), [*SENT, *_key_headers(security)])
        self._preflight = {origin: (*self._actual[origin], *allowed) for origin in self._actual}
        self._refused = child(REFUSED, "origin")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        origin = next((value for name, value in scope["headers"] if name == b"origin"), None)
        if origin is None:
            await self._app(scope, receive, _with((_VARY,), send))
        elif origin in self._actual:
            if _is_preflight(scope):
                await _answer_preflight(self._preflight[origin], send)
                return
            scope[ORIGIN_ALLOWED] = True
            await self._app(scope, receive, _with(self._actual[origin], send))
        elif _is_preflight(scope) or self._is_foreign_write(scope):
            self._refused.inc()
            refusal = _refusal().in_trace(trace_of(scope).trace_id)
            await to_response(refusal.answer())(scope, receive, _with((_VARY,), send))
        else:
            await self._app(scope, receive, _with((_VARY,), send))

    def _is_foreign_write(self, scope: Scope) -> bool:
        """A browser would not have sent it; what is no browser proves nothing by an origin, but need not name one."""
        return scope["method"] not in _SAFE and is_of_another_origin(Headers(scope=scope))


def _is_preflight(scope: Scope) -> bool:
    return scope["method"] == "OPTIONS" and any(
        name == b"access-control-request-method" for name, _ in scope["headers"]
    )


async def _answer_preflight(headers: RawHeaders, send: Send) -> None:
    """The same for every path: what a path has not is said by its answer, which the page may read."""
    await send({"type": "http.response.start", "status": 204, "headers": list(headers)})
    await send({"type": "http.response.body", "body": b""})


def _with(headers: RawHeaders, send: Send) -> Send:
    """Add headers to the answer; middleware of the project that has said who may read it has the last word."""

    async def send_with(message: Message) -> None:
        if message["type"] == "http.response.start":
            sent = message["headers"]
            is_said = any(name == _ALLOW_ORIGIN for name, _ in sent)
            message["headers"] = [*sent, *((_VARY,) if is_said else headers)]
        await send(message)

    return send_with


def _actual(origin: str) -> RawHeaders:
    exposed = ", ".join(EXPOSED)
    return ((_ALLOW_ORIGIN, origin.encode()), (b"access-control-expose-headers", exposed.encode()), _VARY)


def _asked(methods: Sequence[str], headers: Sequence[str]) -> RawHeaders:
    return (
        (b"access-control-allow-methods", ", ".join(methods).encode()),
        (b"access-control-allow-headers", ", ".join(headers).encode()),
        (b"access-control-max-age", str(MAX_AGE_S).encode()),
    )


def _key_headers(security: Security) -> list[str]:
    headers = {scheme.header.lower() for scheme in security.schemes if isinstance(scheme, ApiKeyScheme)}
    return sorted(headers - {*SENT})


def _refusal() -> Problem:
    detail = "pages of this origin may not call the gateway; security.cors.origins lists those that may"
    return Problem(403, "PERMISSION_DENIED", "CROSS_SITE", detail)
