"""A collector that keeps what it is sent: OTLP over HTTP and over gRPC, with the official types on its side."""

import gzip
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2, logs_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from waiting import eventually

_PATHS = {
    "/v1/traces": trace_service_pb2.ExportTraceServiceRequest,
    "/v1/logs": logs_service_pb2.ExportLogsServiceRequest,
}


@dataclass(frozen=True)
class Span:
    """One exported span, with what its resource says of its service."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    service: str
    kind: int
    start_ns: int
    end_ns: int
    status: int
    attributes: dict[str, Any]
    events: tuple[str, ...]
    links: tuple[str, ...]
    """Ids of the spans it links to."""


@dataclass(frozen=True)
class Line:
    """One exported log line."""

    body: str
    severity: str
    trace_id: str
    span_id: str
    service: str
    attributes: dict[str, Any]


@dataclass
class Received:
    """All that came so far."""

    url: str = ""
    spans: list[Span] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)

    def take(self, request: Any) -> None:
        self.raw.append(request.SerializeToString())
        for resource in getattr(request, "resource_spans", ()):
            service = _attributes(resource.resource.attributes)["service.name"]
            self.spans += [_span(span, service) for scope in resource.scope_spans for span in scope.spans]
        for resource in getattr(request, "resource_logs", ()):
            service = _attributes(resource.resource.attributes)["service.name"]
            self.lines += [
                _line(record, service) for scope in resource.scope_logs for record in scope.log_records
            ]

    def trace(self, trace_id: str) -> list[Span]:
        """Its spans, in the order in which they began."""
        return sorted((s for s in self.spans if s.trace_id == trace_id), key=lambda span: span.start_ns)

    def until(self, what: str, condition: Callable[["Received"], bool]) -> None:
        eventually(what, lambda: self, condition)

    def __repr__(self) -> str:
        return (
            f"{len(self.spans)} spans, {sorted({span.name for span in self.spans})}, {len(self.lines)} lines"
        )


@contextmanager
def http_receiver() -> Generator[Received]:
    received = Received()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            received.take(_PATHS[self.path].FromString(body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    received.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def grpc_receiver() -> Generator[Received]:
    received = Received()

    class Traces(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:
            received.take(request)
            return trace_service_pb2.ExportTraceServiceResponse()

    class Logs(logs_service_pb2_grpc.LogsServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:
            received.take(request)
            return logs_service_pb2.ExportLogsServiceResponse()

    server = grpc.server(ThreadPoolExecutor(2))
    adding: list[tuple[Any, object]] = [
        (trace_service_pb2_grpc.add_TraceServiceServicer_to_server, Traces()),  # pyright: ignore[reportUnknownMemberType] - protoc writes no types
        (logs_service_pb2_grpc.add_LogsServiceServicer_to_server, Logs()),  # pyright: ignore[reportUnknownMemberType] - as above
    ]
    for add, servicer in adding:
        add(servicer, server)
    received.url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield received
    finally:
        server.stop(None)


def _span(span: Any, service: str) -> Span:
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=span.name,
        service=service,
        kind=span.kind,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        status=span.status.code,
        attributes=_attributes(span.attributes),
        events=tuple(event.name for event in span.events),
        links=tuple(link.span_id.hex() for link in span.links),
    )


def _line(record: Any, service: str) -> Line:
    return Line(
        body=record.body.string_value,
        severity=record.severity_text,
        trace_id=record.trace_id.hex(),
        span_id=record.span_id.hex(),
        service=service,
        attributes=_attributes(record.attributes),
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
