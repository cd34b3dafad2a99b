"""What transactions in PostgreSQL report: the barrier's decisions, commits, repeats, and a span for each commit."""

import time

from opentelemetry.trace import SpanKind

from sagagen.runtime.service.barrier.calls import BarredCall, decision_name
from sagagen.runtime.service.barrier.rules import BarrierDecision
from sagagen.runtime.telemetry import spans as tracing
from sagagen.runtime.telemetry.metrics import (
    DECISIONS,
    SERVICE_COMMIT_SECONDS,
    SERVICE_COMMIT_WRITES,
    STORE_RETRIES,
    child,
)
from sagagen.runtime.telemetry.spans import FinishedSpan


class StoreObservation:
    """Of one service's store."""

    def __init__(self, service: str, database: str) -> None:
        self._service = service
        self._database = database
        self._writes = SERVICE_COMMIT_WRITES.labels(service)
        self._seconds = SERVICE_COMMIT_SECONDS.labels(service)

    def decided(self, call: BarredCall, decision: BarrierDecision) -> None:
        if call.saga is not None:
            child(DECISIONS, self._service, call.name[1:], decision_name(decision)).inc()

    def repeated(self, why: str) -> None:
        """`why` is an SQLSTATE, or `barrier`."""
        child(STORE_RETRIES, self._service, why).inc()

    def committed(self, call: BarredCall, decision: BarrierDecision, took_s: float) -> None:
        """It is on disk; its caller has no result yet."""
        self._writes.observe(1)
        self._seconds.observe(took_s)
        spans = tracing.active()
        if spans and call.trace and call.trace.is_sampled:
            ended_ns = time.time_ns()
            spans.record(
                FinishedSpan(
                    service=self._service,
                    name=f"COMMIT {self._service}",
                    kind=SpanKind.CLIENT,
                    trace=call.trace.child(),
                    parent_id=call.trace.span_id,
                    begun_ns=ended_ns - round(took_s * 1e9),
                    ended_ns=ended_ns,
                    attributes={
                        "db.system.name": "postgresql",
                        "db.namespace": self._database,
                        "db.operation.name": "COMMIT",
                        "saga.barrier": decision_name(decision),
                    },
                )
            )
