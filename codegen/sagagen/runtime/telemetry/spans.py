"""Spans, told when they are over, with the ids that the saga log has.

A saga outlives its process, and its log names the span of each attempt before anybody could export it. So ids are made
here, by `TraceContext`, and a span is put together once it is over and handed to OpenTelemetry's batch processor as it
is; `otlp_spans` encodes it. That takes a fraction of what a span costs that the SDK starts, ends and encodes. Where
nothing is exported `active()` is None, and all that is left is that question.
"""

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    TraceFlags,
    TraceState,
    set_span_in_context,
)
from opentelemetry.trace.status import Status, StatusCode

from sagagen.runtime.rpc.trace import TraceContext

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.sampling import Sampler

GATEWAY = "gateway"
"""What the gateway is called among services."""

Attributes = Mapping[str, str | int | bool]


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened within a span."""

    name: str
    at_ns: int
    """Ns since the epoch."""
    attributes: Attributes


_KEPT = SpanContext(1, 1, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


class FinishedSpan(NamedTuple):
    """A span that is over. Times are ns since the epoch."""

    service: str
    """Whose work it was: a service's name, or `gateway`."""
    name: str
    kind: SpanKind
    trace: TraceContext
    """Its own ids."""
    parent_id: str
    """16 hex digits; empty for the root of a trace."""
    begun_ns: int
    ended_ns: int
    attributes: Attributes
    events: Sequence[SpanEvent] = ()
    links: Sequence[TraceContext] = ()
    error: str = ""
    """Why its status is ERROR; empty: it is unset. Never a message, which may hold what must not get out."""
    context = _KEPT  # pyright: ignore[reportUnannotatedClassAttribute]
    """All that a batch processor asks of a span: that it is kept."""

    @classmethod
    def nothing(cls) -> "FinishedSpan":
        """A span of no trace."""
        nowhere = TraceContext("0" * 32, "0" * 16)
        return cls(
            service="",
            name="",
            kind=SpanKind.INTERNAL,
            trace=nowhere,
            parent_id="",
            begun_ns=0,
            ended_ns=0,
            attributes={},
        )


_CURRENT = next(iter(set_span_in_context(INVALID_SPAN, Context())))
"""Under which key a context has its span. `set_span_in_context` copies the context three times, for each call."""


OnEnd = Callable[[FinishedSpan], object]
"""Takes a span that is over."""


class Spans:
    """Where spans go. Made by `telemetry`, one in a process."""

    def __init__(self, on_end: OnEnd, sampler: "Sampler") -> None:
        """`on_end` is called with each span, in the event loop's thread: it must not wait."""
        self._on_end = on_end
        self._sampler = sampler

    def samples(self, trace: TraceContext, parent: TraceContext | None) -> bool:
        """Whether a trace that comes in, or starts here, is kept; `OTEL_TRACES_SAMPLER` decides."""
        around = in_context(parent, is_remote=True) if parent else Context()
        return self._sampler.should_sample(around, int(trace.trace_id, 16), "").decision.is_sampled()

    def record(self, span: FinishedSpan) -> None:
        """Have it exported with others, later. Does not wait; beyond a full queue spans are dropped."""
        self._on_end(span)


def readable(span: FinishedSpan, resource: "Resource | None") -> "ReadableSpan":
    """The same span in OpenTelemetry's terms."""
    from opentelemetry.sdk.trace import Event, ReadableSpan
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    parent = TraceContext(span.trace.trace_id, span.parent_id, span.trace.flags, span.trace.state)
    return ReadableSpan(
        span.name,
        span_context(span.trace),
        parent=span_context(parent) if span.parent_id else None,
        resource=resource,
        attributes=span.attributes,
        events=tuple(Event(each.name, each.attributes, each.at_ns) for each in span.events),
        links=tuple(Link(span_context(each)) for each in span.links),
        kind=span.kind,
        status=Status(StatusCode.ERROR, span.error) if span.error else Status(),
        start_time=span.begun_ns,
        end_time=max(span.begun_ns, span.ended_ns),
        instrumentation_scope=InstrumentationScope("sagagen"),
    )


def trace_state_header(trace: TraceContext) -> str:
    """`tracestate` as OpenTelemetry would send it on: without what it cannot read."""
    return ",".join(f"{key}={value}" for key, value in TraceState.from_header([trace.state]).items())


def span_context(trace: TraceContext, *, is_remote: bool = False) -> SpanContext:
    """In OpenTelemetry's terms."""
    state = TraceState.from_header([trace.state]) if trace.state else None
    return SpanContext(
        int(trace.trace_id, 16), int(trace.span_id, 16), is_remote, TraceFlags(trace.flags), state
    )


def saga_attributes(saga_id: str, name: str, version: int) -> dict[str, str | int]:
    """What every span of a saga has."""
    return {"saga.id": saga_id, "saga.name": name, "saga.version": version}


def in_context(trace: TraceContext, *, is_remote: bool = False) -> Context:
    """A context of OpenTelemetry's whose current span is this one, for code that makes spans of its own."""
    return Context({_CURRENT: NonRecordingSpan(span_context(trace, is_remote=is_remote))})


_active: Spans | None = None


def active() -> Spans | None:
    """Where this process's spans go; None if they are not exported."""
    return _active


@contextmanager
def recording(spans: Spans) -> Generator[None]:
    """Have `active()` be `spans` within the block."""
    global _active
    _active = spans
    try:
        yield
    finally:
        _active = None
