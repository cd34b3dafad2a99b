"""What a lookup in Redis reports: a span, by the semantic conventions of database clients."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from opentelemetry.trace import SpanKind

from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.telemetry import spans as tracing
from sagagen.runtime.telemetry.spans import FinishedSpan

COMMAND = "HMGET"


@dataclass(slots=True)
class Lookup:
    """Set `is_answered` once Redis has said what it knows, even if that is nothing."""

    is_answered: bool = False


@contextmanager
def traced_lookup(service: str, trace: TraceContext | None) -> Generator[Lookup]:
    """Around the wait for Redis; `trace` is the span of the call that asks."""
    lookup, begun_ns = Lookup(), time.time_ns()
    yield lookup
    spans = tracing.active()
    if spans is None or trace is None or not trace.is_sampled:
        return
    error = "" if lookup.is_answered else "timeout"
    spans.record(
        FinishedSpan(
            service=service,
            name=COMMAND,
            kind=SpanKind.CLIENT,
            trace=trace.child(),
            parent_id=trace.span_id,
            begun_ns=begun_ns,
            ended_ns=time.time_ns(),
            attributes={
                "db.system.name": "redis",
                "db.operation.name": COMMAND,
                **({"error.type": error} if error else {}),
            },
            error=error,
        )
    )
