"""Metrics of a saga, from the rows that its driver writes."""

from collections.abc import Iterable

from sagagen.runtime.engine.port import CANCEL
from sagagen.runtime.model.definition import Direction
from sagagen.runtime.saga.events import (
    Accepted,
    Compensated,
    Done,
    Ended,
    Failed,
    GaveUp,
    LogEvent,
    OperatorRow,
    Outcome,
    SagaStatus,
    Stuck,
)
from sagagen.runtime.scope import step_name
from sagagen.runtime.telemetry.metrics import (
    ATTEMPT_SECONDS,
    ATTEMPTS,
    COMPENSATIONS,
    ENDED,
    EVENTS,
    GIVE_UPS,
    GOT_STUCK,
    ORDERS,
    RETRIES,
    SAGA_SECONDS,
    STARTED,
    child,
    exemplar,
)

_OK = "OK"


def begin_at_zero(saga: str, version: int) -> None:
    """Show a saga's series before anything has happened to it.

    Prometheus sees an increase only between two values: of a series that begins at 3 it would never count the three.
    """
    own = (saga, str(version))
    child(STARTED, *own)
    child(GOT_STUCK, *own)
    for status in (SagaStatus.COMPLETED, SagaStatus.COMPENSATED):
        child(ENDED, *own, status)
        child(SAGA_SECONDS, *own, status)


def count_rows(accepted: Accepted, rows: Iterable[LogEvent]) -> None:
    """Count rows of a saga that were just written. The rows of an earlier process were counted there."""
    for row in rows:
        _count(accepted, row)


def observe_attempt(accepted: Accepted, row: Done | Failed | Compensated, duration_s: float) -> None:
    """Record how long the call of this row took."""
    match row:
        case Done():
            direction, outcome = Direction.ACTION, Outcome.DONE
        case Compensated():
            direction, outcome = Direction.COMPENSATION, Outcome.DONE
        case Failed():
            direction, outcome = row.direction, row.outcome
    name = row.step if row.step[-1:] != "]" else step_name(row.step)
    histogram = child(ATTEMPT_SECONDS, accepted.saga, name, direction, outcome)
    histogram.observe(duration_s, exemplar(accepted.trace, row.span_id))


def _count(accepted: Accepted, row: LogEvent) -> None:
    saga, version = accepted.saga, str(accepted.version)
    match row:
        case Accepted():
            child(STARTED, saga, version).inc()
        case Done():
            _count_attempt(saga, row.step, Direction.ACTION, Outcome.DONE, _OK, row.attempt)
        case Failed():
            _count_attempt(saga, row.step, row.direction, row.outcome, row.code.name, row.attempt)
        case Compensated():
            _count_attempt(saga, row.step, Direction.COMPENSATION, Outcome.DONE, _OK, row.attempt)
            COMPENSATIONS.labels(saga, step_name(row.step)).inc()
        case Ended():
            child(ENDED, saga, version, row.status).inc()
            duration_s = max(0, row.at_ms - accepted.at_ms) / 1000
            child(SAGA_SECONDS, saga, version, row.status).observe(duration_s, exemplar(accepted.trace))
        case Stuck():
            GOT_STUCK.labels(saga, version).inc()
        case GaveUp():
            GIVE_UPS.labels(saga, version, step_name(row.step)).inc()
            if row.by:
                ORDERS.labels(saga, row.did).inc()
        case OperatorRow():
            ORDERS.labels(saga, row.did).inc()
        case _:
            pass


def count_delivery(saga: str, event: str, result: str) -> None:
    """Count what came for a saga, and what became of it."""
    EVENTS.labels(saga, "cancel" if event == CANCEL else event, result).inc()


def _count_attempt(saga: str, step: str, direction: str, outcome: Outcome, code: str, attempt: int) -> None:
    if attempt == 0:  # a wait that got its event, or a delay that is over
        return
    name = step if step[-1:] != "]" else step_name(step)  # a call less for each call of a saga
    child(ATTEMPTS, saga, name, direction, outcome, code).inc()
    if attempt > 1:
        RETRIES.labels(saga, name, direction).inc()
