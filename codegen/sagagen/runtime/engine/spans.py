"""The spans of a saga: one for each attempt, from its row in the log, and one where a new process took over."""

from opentelemetry.trace import SpanKind

from sagagen.runtime.saga.decision import StepCall
from sagagen.runtime.saga.events import Accepted, Compensated, Done, Failed, Outcome, Resumed
from sagagen.runtime.telemetry.spans import GATEWAY, FinishedSpan, SpanEvent, saga_attributes


def attempt_span(
    accepted: Accepted, call: StepCall, row: Done | Failed | Compensated, begun_ns: int, took_s: float
) -> FinishedSpan:
    """One call of a step or of its compensation. A refusal is an answer like others: its status is not ERROR."""
    method = call.action.method.path[1:]
    ended_ns = begun_ns + round(took_s * 1e9)
    code = row.code.name if isinstance(row, Failed) else "OK"
    in_doubt = isinstance(row, Failed) and row.outcome is not Outcome.REFUSED
    return FinishedSpan(
        service=GATEWAY,
        name=method,
        kind=SpanKind.CLIENT,
        trace=accepted.trace.at(row.span_id),
        parent_id=accepted.trace.span_id,
        begun_ns=begun_ns,
        ended_ns=ended_ns,
        attributes={
            "rpc.system.name": "grpc",
            "rpc.method": method,
            "rpc.response.status_code": code,
            "server.address": call.action.service,
            **saga_attributes(accepted.saga_id, accepted.saga, accepted.version),
            "saga.step": call.key,
            "saga.direction": call.direction.value,
            "saga.attempt": call.attempt,
            **({"error.type": code} if in_doubt else {}),
        },
        events=_events(call, row, begun_ns, ended_ns),
        error=code if in_doubt else "",
    )


def resumed_span(accepted: Accepted, row: Resumed, last_span_id: str, begun_ns: int) -> FinishedSpan:
    """Where a new process took the saga over, linked to the last row of the process before."""
    return FinishedSpan(
        service=GATEWAY,
        name=f"resume {accepted.saga}",
        kind=SpanKind.INTERNAL,
        trace=accepted.trace.at(row.span_id),
        parent_id=accepted.trace.span_id,
        begun_ns=begun_ns,
        ended_ns=begun_ns,
        attributes=saga_attributes(accepted.saga_id, accepted.saga, accepted.version),
        links=(accepted.trace.at(last_span_id),) if last_span_id else (),
    )


def _events(
    call: StepCall, row: Done | Failed | Compensated, begun_ns: int, ended_ns: int
) -> tuple[SpanEvent, ...]:
    events: list[SpanEvent] = []
    if call.attempt > 1:
        events.append(SpanEvent("saga.retry", begun_ns, {"saga.attempt": call.attempt}))
    if isinstance(row, Failed):
        name = "saga.refused" if row.outcome is Outcome.REFUSED else "saga.in_doubt"
        events.append(SpanEvent(name, ended_ns, {"saga.reason": row.reason or row.code.name}))
    return tuple(events)
