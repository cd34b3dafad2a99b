#!/usr/bin/env python
"""A collector of spans and log lines over OTLP/HTTP, in a process of its own, which is no part of what is measured.

It parses what it is sent with OpenTelemetry's own types, as any collector would, and counts it.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from processes import free_ports

KINDS = ("off", "lost", "received")
"""No telemetry; a collector's address where nobody listens; a collector."""


@dataclass(frozen=True, slots=True)
class Telemetry:
    """Where the processes of a stack are to export to, and what arrived there, once it is over."""

    environment: dict[str, str]
    received: dict[str, int] = field(default_factory=dict[str, int])


@contextmanager
def telemetry(kind: str) -> Generator[Telemetry]:
    """For one measurement, one of KINDS."""
    if kind == "off":
        yield Telemetry({})
        return
    (port,) = free_ports(1)
    told = Telemetry({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"})
    if kind == "lost":
        yield told
        return
    command = [sys.executable, __file__, str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as collector:
        assert collector.stdout is not None
        collector.stdout.readline()  # it listens
        try:
            yield told
        finally:
            collector.send_signal(signal.SIGTERM)
            told.received.update(cast(dict[str, int], json.loads(collector.stdout.read())))


def serve(port: int) -> None:
    """Until SIGTERM; then what was received is printed as JSON."""
    received = {"spans_received": 0, "log_lines_received": 0}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path == "/v1/traces":
                request = ExportTraceServiceRequest.FromString(body)
                found = sum(len(scope.spans) for one in request.resource_spans for scope in one.scope_spans)
                received["spans_received"] += found
            else:
                lines = ExportLogsServiceRequest.FromString(body)
                found = sum(len(scope.log_records) for one in lines.resource_logs for scope in one.scope_logs)
                received["log_lines_received"] += found
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        server.daemon_threads = True
        print("listening", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print(json.dumps(received), flush=True)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
