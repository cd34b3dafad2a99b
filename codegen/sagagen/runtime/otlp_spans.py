"""Finished spans as OTLP, at a seventh of what the exporters' own encoder takes.

Encoding is most of what exporting costs, and the exporters' encoder makes each attribute anew, although a mesh repeats
a few hundred of them. This one keeps those. Whatever else is exported, spans of handlers' own among them, goes through
the exporters' encoder still.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span, SpanFlags, Status
from opentelemetry.trace import SpanKind

from sagagen.runtime.tracing import Attributes, FinishedSpan, SpanEvent, readable, trace_state_header

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

_KINDS = {
    SpanKind.INTERNAL: Span.SPAN_KIND_INTERNAL,
    SpanKind.SERVER: Span.SPAN_KIND_SERVER,
    SpanKind.CLIENT: Span.SPAN_KIND_CLIENT,
}
_FLAGS = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_UNSET, _ERROR = Status(code=Status.STATUS_CODE_UNSET), Status.STATUS_CODE_ERROR
_KEPT_ATTRIBUTES = 4096


class SpanEncoder:
    """Of one process: its services and their resources do not change."""

    def __init__(self, resources: Mapping[str, "Resource"]) -> None:
        self._resources = {service: _without_spans(resource) for service, resource in resources.items()}

    def encode(self, spans: "Sequence[FinishedSpan | ReadableSpan]") -> ExportTraceServiceRequest:
        """What the exporters call in the place of `encode_spans`."""
        others = [span for span in spans if not isinstance(span, FinishedSpan)]
        request = encode_spans(others) if others else ExportTraceServiceRequest()
        places: dict[str, Any] = {}
        for span in spans:
            if isinstance(span, FinishedSpan):
                if span.service not in places:
                    resource_spans = request.resource_spans.add()
                    resource_spans.CopyFrom(self._resources[span.service])
                    places[span.service] = resource_spans.scope_spans[0].spans
                _encode(span, places[span.service])
        return request


class Converted:
    """An exporter that knows spans of OpenTelemetry's only, and is to take ours."""

    def __init__(self, exporter: Any, resources: Mapping[str, "Resource"]) -> None:
        self._exporter = exporter
        self._resources = resources

    def export(self, spans: "Sequence[FinishedSpan | ReadableSpan]") -> Any:
        converted = [
            readable(span, self._resources[span.service]) if isinstance(span, FinishedSpan) else span
            for span in spans
        ]
        return self._exporter.export(converted)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._exporter, name)


def _without_spans(resource: "Resource") -> ResourceSpans:
    """The exporters' encoder knows how a resource and our scope are written."""
    (found,) = encode_spans([readable(FinishedSpan.nothing(), resource)]).resource_spans
    del found.scope_spans[0].spans[:]
    return found


def _encode(span: FinishedSpan, spans: Any) -> None:
    """Add it to the repeated field `spans`, in place: a message that is put there would be copied."""
    trace = span.trace
    spans.add(
        trace_id=bytes.fromhex(trace.trace_id),
        span_id=bytes.fromhex(trace.span_id),
        trace_state=trace_state_header(trace) if trace.state else "",
        parent_span_id=bytes.fromhex(span.parent_id),
        name=span.name,
        kind=_KINDS[span.kind],
        start_time_unix_nano=span.begun_ns,
        end_time_unix_nano=max(span.begun_ns, span.ended_ns),
        attributes=_attributes(span.attributes),
        events=[_event(event) for event in span.events] if span.events else None,
        links=[
            Span.Link(
                trace_id=bytes.fromhex(link.trace_id), span_id=bytes.fromhex(link.span_id), flags=_FLAGS
            )
            for link in span.links
        ]
        if span.links
        else None,
        status=Status(code=_ERROR, message=span.error) if span.error else _UNSET,
        flags=_FLAGS,
    )


def _event(event: SpanEvent) -> Span.Event:
    return Span.Event(name=event.name, time_unix_nano=event.at_ns, attributes=_attributes(event.attributes))


def _attributes(attributes: Attributes) -> Iterable[KeyValue]:
    return [_attribute(key, value) for key, value in attributes.items()]


@lru_cache(maxsize=_KEPT_ATTRIBUTES, typed=True)  # typed: 1 is not True
def _attribute(key: str, value: str | int | bool) -> KeyValue:
    if isinstance(value, bool):
        return KeyValue(key=key, value=AnyValue(bool_value=value))
    if isinstance(value, int):
        return KeyValue(key=key, value=AnyValue(int_value=value))
    return KeyValue(key=key, value=AnyValue(string_value=value))
