"""What Prometheus is told about sagas and their log. In the process's default registry, which /metrics serves.

No label takes an id: sagas, steps and services are as many as the contract names.
"""

from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

from sagagen.runtime.definition import Direction
from sagagen.runtime.history_rows import Accepted, Compensated, Done, Ended, Failed, OperatorRow, Row, Stuck

STARTED = Counter("sagagen_sagas_started", "Sagas that were accepted.", ["saga"])
ENDED = Counter("sagagen_sagas_ended", "Sagas that are over, by how they ended.", ["saga", "status"])
GOT_STUCK = Counter("sagagen_sagas_got_stuck", "How often a saga came to wait for an operator.", ["saga"])
ATTEMPTS = Counter(
    "sagagen_step_attempts",
    "Calls of steps and compensations, by outcome: DONE, REFUSED or DOUBT.",
    ["saga", "step", "direction", "outcome"],
)
RETRIES = Counter(
    "sagagen_step_retries", "Attempts after the first one of their call.", ["saga", "step", "direction"]
)
COMPENSATIONS = Counter("sagagen_compensations", "Steps that were undone.", ["saga", "step"])
ORDERS = Counter("sagagen_operator_orders", "What operators did.", ["saga", "act"])

IN_FLIGHT = Gauge("sagagen_sagas_in_flight", "Sagas that are neither over nor stuck.", ["saga"])
STUCK = Gauge("sagagen_sagas_stuck", "Sagas that wait for an operator.", ["saga"])
OLDEST = Gauge(
    "sagagen_oldest_unfinished_saga_age_seconds",
    "Since the oldest saga that is not over was accepted.",
    ["saga"],
)
COMMIT_WRITES = Histogram(
    "sagagen_log_commit_writes",
    "Writes that shared a commit of the saga log; each commit is one fsync.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
COMMIT_SECONDS = Histogram(
    "sagagen_log_commit_seconds",
    "Time that a commit of the saga log took.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
)
LOG_BYTES = Gauge("sagagen_log_size_bytes", "The saga log on disk, with its WAL.")
DISK_IS_FULL = Gauge("sagagen_log_disk_full", "1 while the log's reserve is spent and new sagas are refused.")

_ACTION, _COMPENSATION = Direction.ACTION.value, Direction.COMPENSATION.value


def count_rows(saga: str, rows: Iterable[Row]) -> None:
    """Count what rows say that were just written. Those of an earlier process were counted there."""
    for row in rows:
        _count(saga, row)


def _count(saga: str, row: Row) -> None:
    match row:
        case Accepted():
            STARTED.labels(saga).inc()
        case Done():
            _count_attempt(saga, row.step, _ACTION, "DONE", row.attempt)
        case Failed():
            _count_attempt(saga, row.step, row.direction.value, row.outcome.value, row.attempt)
        case Compensated():
            _count_attempt(saga, row.step, _COMPENSATION, "DONE", row.attempt)
            COMPENSATIONS.labels(saga, row.step).inc()
        case Ended():
            ENDED.labels(saga, row.status.value).inc()
        case Stuck():
            GOT_STUCK.labels(saga).inc()
        case OperatorRow():
            ORDERS.labels(saga, type(row).__name__.lower()).inc()
        case _:
            pass


def _count_attempt(saga: str, step: str, direction: str, outcome: str, attempt: int) -> None:
    ATTEMPTS.labels(saga, step, direction, outcome).inc()
    if attempt > 1:
        RETRIES.labels(saga, step, direction).inc()
