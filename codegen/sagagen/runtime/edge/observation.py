"""What is measured of every HTTP request: its place in a trace, its duration, and its span."""

import time
from collections.abc import Callable, Mapping

from opentelemetry.trace import SpanKind
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sagagen.runtime.edge.exchange import LINKED, PARENT_SPAN, ROUTE, SAGA, trace_of, traceparent
from sagagen.runtime.edge.http.headers import STRICT_TRANSPORT
from sagagen.runtime.edge.http.limits import AnswersRefusals
from sagagen.runtime.telemetry import spans as tracing
from sagagen.runtime.telemetry.metrics import HTTP_SECONDS, child, exemplar
from sagagen.runtime.telemetry.spans import GATEWAY, FinishedSpan, Spans

_PROBES = frozenset({"/healthz", "/readyz"})
"""Probes come every few seconds: a span of each would bury the others."""
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Observed(AnswersRefusals):
    """The outermost layer: it sees every answer as it leaves, whatever made it."""

    def __init__(self, app: ASGIApp, is_behind_tls: Callable[[Scope], bool] | None = None) -> None:
        """`is_behind_tls` says whether a client used https, where the connection itself does not tell."""
        self._app = app
        self._is_behind_tls = is_behind_tls

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace, begun_ns, begun_s = trace_of(scope), time.time_ns(), time.perf_counter()
        status = 0

        async def send_traced(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message).setdefault(*traceparent(trace))
                if self._is_behind_tls and self._is_behind_tls(scope):
                    message["headers"].append(STRICT_TRANSPORT)
            await send(message)

        try:
            await self._app(scope, receive, send_traced)
        finally:
            # Without an answer the server sends 500, or the client has gone.
            _report(scope, status or 500, begun_ns, time.perf_counter() - begun_s)


def _report(scope: Scope, status: int, begun_ns: int, took_s: float) -> None:
    trace, route, method = trace_of(scope), scope.get(ROUTE, ""), _method(scope)
    child(HTTP_SECONDS, method, route, str(status)).observe(took_s, exemplar(trace))
    spans = tracing.active()
    if spans and trace.is_sampled and route not in _PROBES:
        _record(spans, scope, method, route, status, begun_ns, begun_ns + round(took_s * 1e9))


def _record(
    spans: Spans, scope: Scope, method: str, route: str, status: int, begun_ns: int, ended_ns: int
) -> None:
    saga: Mapping[str, str | int] = scope.get(SAGA, {})
    spans.record(
        FinishedSpan(
            service=GATEWAY,
            name=f"{method} {route}" if route else method,
            kind=SpanKind.SERVER,
            trace=trace_of(scope),
            parent_id=scope[PARENT_SPAN],
            begun_ns=begun_ns,
            ended_ns=ended_ns,
            attributes={
                "http.request.method": method,
                "http.response.status_code": status,
                "url.scheme": scope["scheme"],
                # The template, since a path may carry what the contract redacts.
                "url.path": route,
                "http.route": route,
                **saga,
                **({"error.type": str(status)} if status >= 500 else {}),
            },
            links=scope[LINKED],
            error=str(status) if status >= 500 else "",
        )
    )


def _method(scope: Scope) -> str:
    """A request may name any method; a label takes only those that HTTP knows."""
    return scope["method"] if scope["method"] in _METHODS else "_OTHER"
