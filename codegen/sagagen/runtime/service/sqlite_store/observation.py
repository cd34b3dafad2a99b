"""What a service's writes report: the barrier's decisions, the commits, and a span for each call's transaction."""

import time

from opentelemetry.trace import SpanKind

from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.service.barrier.calls import decision_name
from sagagen.runtime.service.barrier.rules import BarrierDecision, RunHandler
from sagagen.runtime.service.sqlite_store.turn import Group, WriterTurn
from sagagen.runtime.telemetry import spans as tracing
from sagagen.runtime.telemetry.metrics import DECISIONS, SERVICE_COMMIT_SECONDS, SERVICE_COMMIT_WRITES, child
from sagagen.runtime.telemetry.spans import FinishedSpan, Spans


class WriterObservation:
    """Of one service's writer."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._writes = SERVICE_COMMIT_WRITES.labels(service)
        self._seconds = SERVICE_COMMIT_SECONDS.labels(service)

    def decided(self, turn: WriterTurn, decision: BarrierDecision) -> None:
        """The barrier has decided; the call's transaction begins."""
        turn.decision_name = "RUN" if isinstance(decision, RunHandler) else decision_name(decision)
        turn.begun_ns = time.time_ns()
        if turn.call.saga is not None:
            child(DECISIONS, self._service, turn.call.name[1:], turn.decision_name).inc()

    def committed(self, group: Group, took_s: float) -> None:
        """All of the group is on disk; no caller has its result yet."""
        self._writes.observe(len(group.turns))
        self._seconds.observe(took_s)
        if spans := tracing.active():
            ended_ns = time.time_ns()
            for turn in group.turns:
                if turn.call.trace and turn.call.trace.is_sampled:
                    self._record(spans, turn, turn.call.trace, ended_ns)

    def _record(self, spans: Spans, turn: WriterTurn, trace: TraceContext, ended_ns: int) -> None:
        spans.record(
            FinishedSpan(
                service=self._service,
                name=f"COMMIT {self._service}",
                kind=SpanKind.CLIENT,
                trace=trace.child(),
                parent_id=trace.span_id,
                begun_ns=turn.begun_ns,
                ended_ns=ended_ns,
                attributes={
                    "db.system.name": "sqlite",
                    "db.namespace": self._service,
                    "db.operation.name": "COMMIT",
                    "saga.barrier": turn.decision_name,
                },
            )
        )
