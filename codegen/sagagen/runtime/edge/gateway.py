"""The HTTP edge of a mesh: the contract's routes, the gateway's own, and whatever the project adds.

Everything that depends only on the contract (message classes, validators, path trees, JSON shapes) is made once, when
the gateway is; a request finds its endpoint and goes through it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from random import Random
from urllib.parse import quote

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.routing import Router as StarletteRouter
from starlette.types import ASGIApp, Receive, Scope, Send

from sagagen.runtime.access.identity import Authentication
from sagagen.runtime.clock import Clock
from sagagen.runtime.edge.answer import Answer
from sagagen.runtime.edge.content import check_origin
from sagagen.runtime.edge.docs_page import DocsEndpoint, DocsFileEndpoint
from sagagen.runtime.edge.entry import Caller, Entries, Entry, HookNotAsked, IdentityHook, Pace, anonymous
from sagagen.runtime.edge.events import (
    CANCEL,
    CancelEndpoint,
    EventEndpoint,
    Mailbox,
    cancels_of,
    events_of,
)
from sagagen.runtime.edge.exchange import (
    ORIGIN_ALLOWED,
    ROUTE,
    Contained,
    Endpoint,
    Exchange,
    to_response,
    trace_of,
    traceparent,
)
from sagagen.runtime.edge.forward import DEFAULT_TIMEOUT_S, ForwardEndpoint, Waiting
from sagagen.runtime.edge.http.limits import REFUSAL
from sagagen.runtime.edge.json.protojson import JsonWriter
from sagagen.runtime.edge.observation import Observed
from sagagen.runtime.edge.own_routes import DocumentEndpoint, HealthEndpoint, ReadyEndpoint, WatchEndpoint
from sagagen.runtime.edge.own_sagas import OwnSagasEndpoint
from sagagen.runtime.edge.paths.router import Found, Missing, Router
from sagagen.runtime.edge.paths.template import PathError, Template, parse_template
from sagagen.runtime.edge.problem import Problem, ProblemError, invalid, phrase, retry_after
from sagagen.runtime.edge.responder import HttpResponder
from sagagen.runtime.edge.shared_answers import SharedAnswers
from sagagen.runtime.edge.start import StartEndpoint
from sagagen.runtime.edge.transcoding.fields import shown
from sagagen.runtime.edge.transcoding.request import RequestReader
from sagagen.runtime.engine.port import JournalUnavailable, JournalUnreadable, SagaRuntime
from sagagen.runtime.health import Readiness
from sagagen.runtime.messages.schema import Schema
from sagagen.runtime.model.definition import Limits, Mesh, Route, Saga
from sagagen.runtime.model.security import Security
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.rpc.transport import Transport

HttpRequest = Request
"""What the caller hook is given: starlette's request."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Gateway:
    """The composition root of a project's edge: `gateway = Gateway(MESH, caller=caller)` in gateway/app.py."""

    def __init__(
        self,
        mesh: Mesh,
        *,
        caller: Caller | None = None,
        identity: IdentityHook | None = None,
        middleware: Sequence[Middleware] = (),
        routes: Sequence[BaseRoute] = (),
    ) -> None:
        """`caller` says on whose behalf a request comes, and refuses it by raising starlette's HTTPException. Services
        are told (`call.caller`), so it has at most 1,024 bytes in UTF-8. Without it everybody is anonymous.

        Where the contract has `security`, its schemes say who calls, and there is no `caller`: `identity` gets what
        they have found, on a route that is public an anonymous Identity, and returns that or another one. It may
        refuse as well.

        `middleware` (CORS, for example) wraps everything. `routes` are asked where the contract has no route; nothing
        here says who may call those. Raises RouteError or TemplateError for a route that does not fit its messages, and
        HookNotAsked for a hook that would not be asked.
        """
        _check_hooks(mesh.security, caller, identity)
        self._mesh = mesh
        self._caller = caller or anonymous
        self._identity = identity
        self._middleware = tuple(middleware)
        self._routes = tuple(routes)
        self.schema = Schema(mesh.descriptors.read_bytes())
        self.responder = HttpResponder(mesh, self.schema)
        self._bindings = tuple(_Binding(route, self.schema) for route in mesh.routes)

    @property
    def caller(self) -> Caller:
        """The hook that says on whose behalf a request comes; not asked where the contract has `security`."""
        return self._caller

    def application(
        self,
        engine: SagaRuntime,
        transports: Mapping[str, Transport],
        limits: Limits | None = None,
        readiness: Readiness | None = None,
        shared: SharedAnswers | None = None,
        clock: Clock | None = None,
        random: Random | None = None,
        at_most_s: float = DEFAULT_TIMEOUT_S,
        authentication: Authentication | None = None,
        pace: Pace | None = None,
    ) -> ASGIApp:
        """The ASGI application, on a running engine and ways to every service of the mesh.

        `limits` are the contract's unless the environment has others. `readiness` is what /readyz reports; without it
        the engine alone decides. `shared` are the answers of gateways that have logs of their own. Tests choose the
        clock, and where ids come from that no client chose. `at_most_s` is how long a service has for a call that no
        saga makes, in seconds. `authentication` are the schemes of the contract's `security`, at work, if it has that;
        `pace` turns away who sends too many requests.
        """
        readiness = readiness or Readiness({"gateway": engine.check})
        waiting = Waiting((limits or self._mesh.limits).max_waiting, at_most_s)
        entries = Entries(self._mesh.security, self._caller, self._identity, authentication, pace)
        router: Router[Endpoint] = Router(
            [
                *self._own(engine, readiness, entries),
                *self._contract(engine, transports, waiting, shared, clock, random, entries),
            ]
        )
        app = Starlette(
            middleware=self._contained(),
            exception_handlers={HTTPException: _on_http_exception, Exception: _on_failure},
        )
        app.router.redirect_slashes = False
        app.router.default = _Dispatcher(router, self._routes)
        # Now, and not at the first request: middleware that can't be made keeps the process from starting.
        app.middleware_stack = app.build_middleware_stack()
        return Observed(self._for_pages(app), is_behind_tls=_is_behind_tls if self._mesh.security else None)

    def _for_pages(self, app: ASGIApp) -> ASGIApp:
        """The application, for the web pages that the contract names."""
        security = self._mesh.security
        if security is None or not security.origins:
            return app
        from sagagen.runtime.edge.cors import Cors

        return Cors(app, security, {route.verb for route in self._mesh.routes})

    def _contained(self) -> Sequence[Middleware]:
        """The project's middleware, its routes and its caller hook, inside of what answers 500 for an Exception."""
        is_plain = not self._middleware and not self._routes
        return () if is_plain else (Middleware(Contained), *self._middleware)

    def _own(
        self, engine: SagaRuntime, readiness: Readiness, entries: Entries
    ) -> Iterable[tuple[str, Template, Endpoint]]:
        yield "GET", parse_template("/healthz"), HealthEndpoint()
        yield "GET", parse_template("/readyz"), ReadyEndpoint(readiness)
        yield "GET", parse_template("/sagas"), OwnSagasEndpoint(entries.of_own(), engine)
        yield "GET", parse_template("/sagas/{id}"), WatchEndpoint(entries.of_own(), engine)
        yield "GET", parse_template("/openapi.json"), DocumentEndpoint(self._mesh.descriptors)
        yield "GET", parse_template("/docs"), DocsEndpoint(self._mesh.project)
        yield "GET", parse_template("/docs/{file}"), DocsFileEndpoint()

    def _contract(
        self,
        engine: SagaRuntime,
        transports: Mapping[str, Transport],
        waiting: Waiting,
        shared: SharedAnswers | None,
        clock: Clock | None,
        random: Random | None,
        entries: Entries,
    ) -> Iterable[tuple[str, Template, Endpoint]]:
        for binding in self._bindings:
            route = binding.route
            entry = entries.of_route(route.access, route.method)
            if route.event:
                endpoint: Endpoint = self._incoming(binding, engine, shared, entry)
            elif route.starts_saga:
                endpoint = StartEndpoint(
                    self._mesh.project,
                    self._newest(route.target),
                    binding.reader,
                    entry,
                    engine,
                    self.responder,
                    shared,
                    clock,
                    random,
                )
            else:
                endpoint = ForwardEndpoint(
                    route,
                    binding.reader,
                    binding.writer,
                    entry,
                    transports[route.target],
                    waiting,
                    random,
                )
            yield route.verb, binding.template, endpoint

    def _incoming(
        self, binding: "_Binding", engine: SagaRuntime, shared: SharedAnswers | None, entry: Entry
    ) -> EventEndpoint | CancelEndpoint:
        """Of an event, or a request to cancel. Sagas may share its rpc: then the id says which one is meant."""
        route = binding.route
        mailbox = Mailbox(engine, binding.reader, entry, shared)
        newest = [self._newest(name) for name in dict.fromkeys(saga.name for saga in self._mesh.sagas)]
        if route.event == CANCEL:
            return CancelEndpoint(cancels_of(route, newest), mailbox)
        return EventEndpoint(events_of(route, newest), binding.writer, mailbox)

    def _newest(self, name: str) -> Saga:
        """The version that new sagas of this name take; it also says how events find theirs."""
        versions = [saga for saga in self._mesh.sagas if saga.name == name]
        return max(versions, key=lambda saga: saga.version)


def _is_behind_tls(scope: Scope) -> bool:
    """A trusted proxy was asked by https."""
    from sagagen.runtime.edge.client import client_of

    return client_of(scope).is_secure


def _check_hooks(security: Security | None, caller: Caller | None, identity: IdentityHook | None) -> None:
    """Raises HookNotAsked for a hook that nobody would ask: what it refuses would then be let in."""
    if security and caller:
        raise HookNotAsked(
            "the contract has `security`, whose schemes say who calls, so the hook `caller=` would not be asked: leave "
            "it out; what has to be decided beyond the contract goes into `identity=`"
        )
    if identity and not security:
        raise HookNotAsked(
            "the hook `identity=` refines what the schemes of the contract's `security` have found, and this contract "
            "has no such section: write one, or use `caller=`"
        )


class _Binding:
    """A route of the contract, compiled."""

    def __init__(self, route: Route, schema: Schema) -> None:
        self.route = route
        self.template = parse_template(route.template)
        self.reader = RequestReader(route, self.template, schema)
        self.writer = JsonWriter(schema.message_type(route.method.response_name), route.response_body)


class _Dispatcher:
    """Passes a request to its endpoint, or to the project's own routes where the contract has none."""

    def __init__(self, router: Router[Endpoint], extra: Sequence[BaseRoute]) -> None:
        self._router = router
        self._extra = StarletteRouter(routes=extra, redirect_slashes=False, default=self._refuse)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if refusal := scope.get(REFUSAL):
            await to_response(_in_trace(refusal, trace_of(scope)))(scope, receive, send)
            return
        found = self._find(scope) if scope["type"] == "http" else None
        if isinstance(found, Found):
            scope[ROUTE] = found.template
            response = to_response(await _answer(found, Request(scope, receive)))
            await response(scope, receive, send)
        else:
            await self._extra(scope, receive, send)

    def _find(self, scope: Scope) -> Found[Endpoint] | Answer | Problem:
        path = _raw_path(scope)
        try:
            found = self._router.find(scope["method"], path)
        except PathError as error:
            return invalid("INVALID_PATH", str(error)).problem
        return _without_route(scope["method"], path, found.allowed) if isinstance(found, Missing) else found

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        elif scope["type"] == "http":
            found = self._find(scope)
            assert not isinstance(found, Found), "what has an endpoint is answered by it"
            await to_response(_in_trace(found, trace_of(scope)))(scope, receive, send)


async def _answer(found: Found[Endpoint], request: Request) -> Answer:
    trace = trace_of(request.scope)
    try:
        if ORIGIN_ALLOWED not in request.scope:
            check_origin(request.method, request.headers)
        return await found.endpoint(Exchange(request, found.values, trace))
    except ProblemError as error:
        return _in_trace(error.problem, trace)
    except JournalUnavailable as error:
        detail = f"what is recorded of sagas can't be read now ({error}); ask again"
        headers = (retry_after(error.retry_after_s),)
        return _in_trace(Problem(503, "UNAVAILABLE", "SAGAS_UNAVAILABLE", detail, headers=headers), trace)
    except JournalUnreadable as error:
        _logger.error("a saga can't be read", why=str(error))
        detail = "what is recorded of this saga can't be read; an operator has to look"
        return _in_trace(Problem(500, "DATA_LOSS", "SAGA_UNREADABLE", detail), trace)


def _in_trace(answer: Answer | Problem, trace: TraceContext) -> Answer:
    """A problem of a saga names that saga's trace, in the document and in the header."""
    if isinstance(answer, Answer):
        return answer
    problem = answer.in_trace(trace.trace_id)
    return replace(problem, headers=(*problem.headers, traceparent(trace, problem.trace_id))).answer()


def _without_route(method: str, path: str, allowed: Sequence[str]) -> Answer | Problem:
    """OPTIONS is answered for every path that has a route; else 404, or 405 with the methods that would do."""
    allow = ("allow", ", ".join(allowed))
    if not allowed:
        return Problem(404, "NOT_FOUND", "NO_ROUTE", f"no route matches {shown(path)}")
    if method == "OPTIONS":
        return Answer(204, (allow,), b"")
    detail = f"{shown(path)} has no {method}; it has {', '.join(allowed)}"
    return Problem(405, "UNIMPLEMENTED", "METHOD_NOT_ALLOWED", detail, headers=(allow,))


def _raw_path(scope: Scope) -> str:
    """The path as sent: decoding it before it is split would take an encoded slash for a separator."""
    return (scope.get("raw_path") or quote(scope["path"]).encode()).decode("ascii", "replace")


def _on_http_exception(request: Request, error: Exception) -> Response:
    """What the caller hook, the project's own routes or starlette itself raise."""
    assert isinstance(error, HTTPException), "registered for it alone"
    title = phrase(error.status_code)
    problem = Problem(
        error.status_code,
        _CODES.get(error.status_code, "UNKNOWN"),
        title.upper().replace(" ", "_").replace("-", "_").replace("'", ""),
        error.detail,
        trace_id=trace_of(request.scope).trace_id,
        headers=tuple((error.headers or {}).items()),
    )
    return to_response(problem.answer())


def _on_failure(request: Request, error: Exception) -> Response:
    """A mistake in this program or in the project's hook. The server logs it; the client learns where to look."""
    detail = "the gateway failed on this request; its log has the reason under this trace id"
    trace_id = trace_of(request.scope).trace_id
    return to_response(Problem(500, "INTERNAL", "GATEWAY_FAILED", detail, trace_id=trace_id).answer())


_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    413: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    503: "UNAVAILABLE",
}
"""For a status that comes without gRPC's code."""
