"""What a collector receives is the same in both ways: encoded by us, and by OpenTelemetry's exporters."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.trace import SpanKind
from opentelemetry.util._once import Once
from otlp_receiver import Received, grpc_receiver, http_receiver

from sagagen.runtime import plain
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.telemetry import spans
from sagagen.runtime.telemetry.export import exporting
from sagagen.runtime.telemetry.otlp import SpanEncoder
from sagagen.runtime.telemetry.otlp_exporter import encoding
from sagagen.runtime.telemetry.spans import FinishedSpan, SpanEvent, readable

HAS_CLIENT = hasattr(OTLPSpanExporter(), "_client")
"""The exporter over HTTP is one that ours fits: not so with the oldest that pyproject.toml allows."""
RESOURCES = {"order": Resource({"service.name": "order"})}
RECEIVERS: dict[str, Callable[[], AbstractContextManager[Received]]] = {
    "http/protobuf": http_receiver,
    "grpc": grpc_receiver,
}
SPAN = FinishedSpan(
    service="order",
    name="attempt",
    kind=SpanKind.CLIENT,
    trace=TraceContext("1" * 32, "2" * 16),
    parent_id="3" * 16,
    begun_ns=1,
    ended_ns=2,
    attributes={"saga.step": "reserve", "saga.attempt": 1, "is_repeat": True},
    events=(SpanEvent("commit", 2, {"rows": 2}),),
    links=(TraceContext("4" * 32, "5" * 16),),
    error="UNAVAILABLE",
)


@pytest.fixture(params=["http/protobuf", "grpc"])
def collector(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Received]:
    # Exporting makes its provider the process's, once.
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    with RECEIVERS[request.param]() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", _traces_url(received, request.param))
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", request.param)
        yield received


def _traces_url(received: Received, protocol: str) -> str:
    return received.url if protocol == "grpc" else f"{received.url}/v1/traces"


@pytest.mark.parametrize("way", ["quick", "plain"])
async def test_a_span_arrives_whole_beside_one_of_a_handlers_own(collector: Received, way: str):
    with plain.using({"otlp"} if way == "plain" else set()):
        async with exporting("lab", ["order"], os.environ):
            active = spans.active()
            assert active
            active.record(SPAN)
            trace.get_tracer("a handler").start_span("own").end()
    collector.until("both spans came", lambda received: len(received.spans) == 2)
    (ours,) = [span for span in collector.spans if span.name == "attempt"]
    assert (ours.trace_id, ours.span_id, ours.parent_id) == ("1" * 32, "2" * 16, "3" * 16)
    assert (ours.service, ours.kind, ours.status) == ("order", 3, 2)
    assert (ours.start_ns, ours.end_ns) == (1, 2)
    assert ours.attributes == {"saga.step": "reserve", "saga.attempt": 1, "is_repeat": True}
    assert (ours.events, ours.links) == (("commit",), ("5" * 16,))


@pytest.mark.parametrize("way", ["quick", "plain"])
async def test_each_way_encodes_where_it_says(collector: Received, way: str, monkeypatch: pytest.MonkeyPatch):
    by_us: list[int] = []
    encode = SpanEncoder.encode

    def counted(self: SpanEncoder, batch: Any) -> Any:
        by_us.append(len(batch))
        return encode(self, batch)

    monkeypatch.setattr(SpanEncoder, "encode", counted)
    with plain.using({"otlp"} if way == "plain" else set()):
        async with exporting("lab", ["order"], os.environ):
            by_us.clear()  # the encoder has tried itself
            active = spans.active()
            assert active
            active.record(SPAN)
    collector.until("the span came", lambda received: len(received.spans) == 1)
    fits = HAS_CLIENT or os.environ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] == "grpc"
    assert by_us == ([1] if way == "quick" and fits else [])


class Older(OTLPSpanExporter):
    """As exporters were that had a session and no client."""

    def __init__(self) -> None:
        super().__init__()
        if client := self.__dict__.pop("_client", None):
            self._session = client

    def shutdown(self) -> None:
        self._session.close() if hasattr(self._session, "close") else self._session.shutdown()


def test_an_exporter_without_what_ours_needs_is_used_as_it_is():
    assert encoding(Older, "http/protobuf", RESOURCES) is None
    assert encoding(object, "grpc", RESOURCES) is None


@pytest.mark.skipif(not HAS_CLIENT, reason="this exporter is used as it is")
def test_a_collector_that_is_not_there_is_a_failure_and_no_error():
    exporter = encoding(_Hurried, "http/protobuf", RESOURCES)
    assert exporter is not None
    exporter.shutdown()
    assert exporter.export([SPAN, readable(SPAN, RESOURCES["order"])]) is SpanExportResult.FAILURE


class _Hurried(OTLPSpanExporter):
    def __init__(self) -> None:
        super().__init__(endpoint="http://127.0.0.1:9/v1/traces", timeout=0.1)
