"""Finished spans as OTLP, at a tenth of what the exporters' own encoder takes.

Encoding is most of what exporting costs, and the exporters' encoder makes each attribute anew, although a mesh repeats
a few hundred of them. This one joins encoded parts, most of which it keeps: fields of a message may stand in any order,
and messages that are run together are one (protobuf's encoding). Whatever else is exported, spans of handlers' own
among them, goes through the exporters' encoder still.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from struct import Struct
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, SpanFlags, Status
from opentelemetry.trace import SpanKind

from sagagen.runtime.rpc.trace import SAMPLED, TraceContext
from sagagen.runtime.telemetry.spans import (
    Attributes,
    FinishedSpan,
    SpanEvent,
    readable,
    trace_state_header,
)

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan

_KINDS = {
    SpanKind.INTERNAL: Span.SPAN_KIND_INTERNAL,
    SpanKind.SERVER: Span.SPAN_KIND_SERVER,
    SpanKind.CLIENT: Span.SPAN_KIND_CLIENT,
}
_FLAGS = SpanFlags.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
_KEPT = 4096
"""Of each kind of part."""


class SpanEncoder:
    """Of one process: its services and their resources do not change."""

    def __init__(self, resources: Mapping[str, "Resource"]) -> None:
        self._resources = resources
        self._heads = {service: _heads(resource) for service, resource in resources.items()}

    def is_as_theirs(self) -> bool:
        """A span with something of everything comes to the same with the exporters' encoder: to be asked at start."""
        service, resource = next(iter(self._resources.items()))
        span = _TRIED._replace(service=service)
        return self.encode([span]) == encode_spans([readable(span, resource)])

    def encode(self, spans: "Sequence[FinishedSpan | ReadableSpan]") -> ExportTraceServiceRequest:
        """As the exporters' `encode_spans`; of OpenTelemetry's spans too."""
        others: list[Any] = []
        by_service: dict[str, list[bytes]] = {}
        for span in spans:
            if isinstance(span, FinishedSpan):
                encoded = _encoded(span)
                by_service.setdefault(span.service, []).extend((_before(_SPAN, len(encoded)), encoded))
            else:
                others.append(span)
        parts = [encode_spans(others).SerializeToString()] if others else []
        for service, its_spans in by_service.items():
            resource, scope = self._heads[service]
            scope_spans = b"".join((scope, *its_spans))
            resource_spans = b"".join((resource, _before(_SCOPE_SPANS, len(scope_spans)), scope_spans))
            parts += (_before(_RESOURCE_SPANS, len(resource_spans)), resource_spans)
        return ExportTraceServiceRequest.FromString(b"".join(parts))


_TRIED = FinishedSpan(
    service="",
    name="tried",
    kind=SpanKind.CLIENT,
    trace=TraceContext("1" * 32, "2" * 16, SAMPLED, "a=1"),
    parent_id="3" * 16,
    begun_ns=1,
    ended_ns=2,
    attributes={"text": "a", "number": 1, "yes": True},
    events=(SpanEvent("event", 1, {"text": "b"}),),
    links=(TraceContext("4" * 32, "5" * 16),),
    error="WHY",
)


def _heads(resource: "Resource") -> tuple[bytes, bytes]:
    """Of its ResourceSpans and ScopeSpans, all but what is in them, as the exporters' encoder writes them."""
    (found,) = encode_spans([readable(FinishedSpan.nothing(), resource)]).resource_spans
    (scope,) = found.scope_spans
    del scope.spans[:]
    encoded_scope = scope.SerializeToString()
    del found.scope_spans[:]
    return found.SerializeToString(), encoded_scope


def _encoded(span: FinishedSpan) -> bytes:
    trace, attributes, begun_ns = span.trace, span.attributes, span.begun_ns
    parts = [
        _BEFORE_TRACE_ID,
        bytes.fromhex(trace.trace_id),
        _BEFORE_SPAN_ID,
        bytes.fromhex(trace.span_id),
        _name(span.name, span.kind),
        _TIMES.pack(_BEFORE_BEGUN, begun_ns, _BEFORE_ENDED, max(begun_ns, span.ended_ns)),
        *map(_attribute, attributes, attributes.values()),
        _FLAGS_AND_STATUS,
    ]
    if span.parent_id:
        parts += (_BEFORE_PARENT_ID, bytes.fromhex(span.parent_id))
    if span.events or span.links or span.error or trace.state:
        parts.append(_seldom(span))
    return b"".join(parts)


@lru_cache(maxsize=_KEPT)
def _name(name: str, kind: SpanKind) -> bytes:
    return Span(name=name, kind=_KINDS[kind]).SerializeToString()


def _seldom(span: FinishedSpan) -> bytes:
    """What few spans have."""
    return Span(
        trace_state=trace_state_header(span.trace) if span.trace.state else "",
        events=[
            Span.Event(name=event.name, time_unix_nano=event.at_ns, attributes=_attributes(event.attributes))
            for event in span.events
        ],
        links=[
            Span.Link(
                trace_id=bytes.fromhex(link.trace_id), span_id=bytes.fromhex(link.span_id), flags=_FLAGS
            )
            for link in span.links
        ],
        status=Status(code=Status.STATUS_CODE_ERROR, message=span.error) if span.error else None,
    ).SerializeToString()


@lru_cache(maxsize=_KEPT, typed=True)  # typed: 1 is not True
def _attribute(key: str, value: str | int | bool) -> bytes:
    """As a span's."""
    return Span(attributes=_attributes({key: value})).SerializeToString()


def _attributes(attributes: Attributes) -> list[KeyValue]:
    return [KeyValue(key=key, value=_value(value)) for key, value in attributes.items()]


def _value(value: str | int | bool) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    return AnyValue(string_value=value)


_VARINT_BITS = 7
_MORE = 1 << _VARINT_BITS
"""In a byte of a varint: another one follows."""
_FIXED_64, _LENGTH = 1, 2
"""How a field is encoded: in eight bytes, or as its length and so many bytes."""


@lru_cache(maxsize=_KEPT)
def _before(field: int, length: int) -> bytes:
    """What stands before a value of `length` bytes: its field and that."""
    return _varint(field << 3 | _LENGTH) + _varint(length)


def _varint(number: int) -> bytes:
    written = bytearray()
    while number >= _MORE:
        written.append(number & (_MORE - 1) | _MORE)
        number >>= _VARINT_BITS
    return bytes((*written, number))


def _number(message: type[Message], field: str) -> int:
    return message.DESCRIPTOR.fields_by_name[field].number


_RESOURCE_SPANS = _number(ExportTraceServiceRequest, "resource_spans")
_SCOPE_SPANS = _number(ResourceSpans, "scope_spans")
_SPAN = _number(ScopeSpans, "spans")
_BEFORE_TRACE_ID = _before(_number(Span, "trace_id"), 16)
_BEFORE_SPAN_ID = _before(_number(Span, "span_id"), 8)
_BEFORE_PARENT_ID = _before(_number(Span, "parent_span_id"), 8)
_BEFORE_BEGUN = _varint(_number(Span, "start_time_unix_nano") << 3 | _FIXED_64)
_BEFORE_ENDED = _varint(_number(Span, "end_time_unix_nano") << 3 | _FIXED_64)
_TIMES = Struct(f"<{len(_BEFORE_BEGUN)}sQ{len(_BEFORE_ENDED)}sQ")
_FLAGS_AND_STATUS = Span(flags=_FLAGS, status=Status(code=Status.STATUS_CODE_UNSET)).SerializeToString()
