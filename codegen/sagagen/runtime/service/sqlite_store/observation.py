"""What is told of a service's writes: the barrier's decisions, the commits, and a span for each call's transaction."""

import time

from opentelemetry.trace import SpanKind

from sagagen.runtime.service.barrier.rules import BarrierDecision, RecordEmpty, Replay, RunHandler
from sagagen.runtime.service.sqlite_store.members import Group, Member
from sagagen.runtime.service.sqlite_store.steps import BarredCall
from sagagen.runtime.telemetry import spans as tracing
from sagagen.runtime.telemetry.metrics import DECISIONS, SERVICE_COMMIT_SECONDS, SERVICE_COMMIT_WRITES, child
from sagagen.runtime.telemetry.spans import FinishedSpan, Spans

UNSETTLED = "UNSETTLED"
"""A compensation whose action is still under way."""


class WriterObservation:
    """Of one service's writer."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._writes = SERVICE_COMMIT_WRITES.labels(service)
        self._seconds = SERVICE_COMMIT_SECONDS.labels(service)

    def decided(self, member: Member, ruling: BarrierDecision) -> None:
        """The barrier has ruled; the call's transaction begins."""
        member.decision = _name(ruling)
        member.begun_ns = time.time_ns()
        if member.write.saga is not None:
            child(DECISIONS, self._service, member.write.name[1:], member.decision).inc()

    def committed(self, group: Group, took_s: float) -> None:
        """All of the group is on disk; nobody has been told yet."""
        self._writes.observe(len(group.members))
        self._seconds.observe(took_s)
        if spans := tracing.active():
            ended_ns = time.time_ns()
            for member in group.members:
                self._record(spans, member.write, member, ended_ns)

    def _record(self, spans: Spans, write: BarredCall, member: Member, ended_ns: int) -> None:
        if write.trace is None or not write.trace.is_sampled:
            return
        spans.record(
            FinishedSpan(
                service=self._service,
                name=f"COMMIT {self._service}",
                kind=SpanKind.CLIENT,
                trace=write.trace.child(),
                parent_id=write.trace.span_id,
                begun_ns=member.begun_ns,
                ended_ns=ended_ns,
                attributes={
                    "db.system.name": "sqlite",
                    "db.namespace": self._service,
                    "db.operation.name": "COMMIT",
                    "saga.barrier": member.decision,
                },
            )
        )


def _name(ruling: BarrierDecision) -> str:
    """A label's value: RUN, REPLAY, EMPTY, or the reason of a refusal."""
    match ruling:
        case RunHandler():
            return "RUN"
        case Replay():
            return "REPLAY"
        case RecordEmpty():
            return "EMPTY"
        case _:
            return ruling.error.reason or UNSETTLED
