"""What Prometheus is told. In the process's default registry, which /metrics serves; docs/metrics.md lists it all.

No label takes an id: sagas, steps, services, methods and codes are as many as the contract and gRPC name. An exemplar
leads from a bucket to a trace that fell into it; only a sampled trace that this process exports is one, since others
can be found nowhere.
"""

from functools import cache

from prometheus_client import Gauge, Info, disable_created_metrics

import sagagen
from sagagen.runtime.model.buckets import (
    CALL_BUCKETS_S,
    COMMIT_BUCKETS_S,
    GROUP_BUCKETS,
    SAGA_BUCKETS_S,
    WAIT_BUCKETS_S,
)
from sagagen.runtime.rpc.trace import TraceContext
from sagagen.runtime.telemetry import spans as tracing
from sagagen.runtime.telemetry.instruments import Counter, Histogram, Instrument, Series

disable_created_metrics()  # a second series for each, of which Prometheus makes no use

Info("sagagen_build", "The version of sagagen that runs.").info({"version": sagagen.__version__})

# sagas, told by the gateway

STARTED = Counter("sagagen_sagas_started", "Sagas that were accepted.", ["saga", "version"])
ENDED = Counter(
    "sagagen_sagas_ended", "Sagas that are over, by how they ended.", ["saga", "version", "status"]
)
GOT_STUCK = Counter(
    "sagagen_sagas_got_stuck", "How often a saga came to wait for an operator.", ["saga", "version"]
)
SAGA_SECONDS = Histogram(
    "sagagen_saga_duration_seconds",
    "From a saga's acceptance to its end.",
    ["saga", "version", "status"],
    buckets=SAGA_BUCKETS_S,
)
ATTEMPTS = Counter(
    "sagagen_step_attempts",
    "Calls of steps and compensations, by outcome (DONE, REFUSED, or DOUBT: unknown) and gRPC code.",
    ["saga", "step", "direction", "outcome", "code"],
)
ATTEMPT_SECONDS = Histogram(
    "sagagen_step_attempt_duration_seconds",
    "What one call of a step or compensation took.",
    ["saga", "step", "direction", "outcome"],
    buckets=CALL_BUCKETS_S,
)
RETRIES = Counter(
    "sagagen_step_retries", "Attempts after the first one of their call.", ["saga", "step", "direction"]
)
COMPENSATIONS = Counter("sagagen_compensations", "Steps that were undone.", ["saga", "step"])
ORDERS = Counter("sagagen_operator_orders", "What operators did.", ["saga", "act"])

EVENTS = Counter(
    "sagagen_saga_events",
    "Events that came for sagas, and requests to cancel (`cancel`), by result: taken, repeated, or why not.",
    ["saga", "event", "result"],
)
UNCONSUMED = Counter(
    "sagagen_saga_unconsumed_events",
    "Events that were taken, and that no wait has got by the time their saga turned back or ended.",
    ["saga", "event"],
)
WAITED_SECONDS = Histogram(
    "sagagen_saga_waited_seconds",
    "How long a wait or a delay took, however it ended.",
    ["saga", "step"],
    buckets=WAIT_BUCKETS_S,
)
GIVE_UPS = Counter(
    "sagagen_saga_give_ups",
    "Steps after the pivot that were left as they were, by the contract or an operator.",
    ["saga", "version", "step"],
)

ACTIVE = Gauge("sagagen_sagas_in_flight", "Active sagas: RUNNING or COMPENSATING.", ["saga", "version"])
COMPENSATING = Gauge("sagagen_sagas_compensating", "Sagas that are being undone.", ["saga", "version"])
STUCK = Gauge("sagagen_sagas_stuck", "Sagas that wait for an operator.", ["saga", "version"])
STUCK_AT = Gauge("sagagen_saga_stuck_steps", "Steps that wait for an operator.", ["saga", "version", "step"])
WAITING_AT = Gauge(
    "sagagen_saga_waiting",
    "Sagas that only wait, by the waits and delays that they are at; `~start` is that of a saga that starts later.",
    ["saga", "version", "step"],
)
WAITING = Gauge(
    "sagagen_sagas_waiting_for_version",
    "Active sagas of a version that this code lacks, or has another definition of.",
    ["saga", "version"],
)
OLDEST = Gauge(
    "sagagen_oldest_unfinished_saga_age_seconds",
    "Since the oldest open saga (active or STUCK) was accepted.",
    ["saga"],
)

UNDRIVEN = Gauge(
    "sagagen_engine_undriven_sagas",
    "Active sagas that have something to do, have not gone on for 30 s, and that no process drives.",
    ["saga"],
)
WEDGED = Gauge(
    "sagagen_engine_wedged_sagas",
    "Sagas that can't go on, since what is recorded of them can't be read or does not fit; ten at most.",
    ["saga"],
)

# the saga log

COMMIT_WRITES = Histogram(
    "sagagen_log_commit_writes", "Writes that shared a commit of the saga log.", buckets=GROUP_BUCKETS
)
COMMIT_SECONDS = Histogram(
    "sagagen_log_commit_duration_seconds",
    "Time that a commit of the saga log took, with its fsync.",
    buckets=COMMIT_BUCKETS_S,
)
FSYNCS = Counter(
    "sagagen_log_fsyncs", "Commits of the saga log, each of which waited for one fsync of its WAL."
)
LOG_BYTES = Gauge("sagagen_log_size_bytes", "The saga log on disk, with its WAL.")
DISK_IS_FULL = Gauge("sagagen_log_disk_full", "1 while the log's reserve is spent and new sagas are refused.")

# services

DECISIONS = Counter(
    "sagagen_barrier_decisions",
    "Calls that came to a service's barrier, by what it decided.",
    ["service", "method", "decision"],
)
HITS = Counter(
    "sagagen_idempotency_hits",
    "Repeated calls, by what answered them: memory, redis, or else the barrier.",
    ["service", "layer"],
)
REDIS_OPERATIONS = Counter(
    "sagagen_redis_operations", "Operations on Redis, by result: ok, late or failed.", ["result"]
)
BREAKER_OPEN = Gauge("sagagen_redis_breaker_open", "1 while Redis is set up, but of no help.")
SERVICE_COMMIT_WRITES = Histogram(
    "sagagen_service_commit_writes",
    "Calls that shared a commit of a service's database.",
    ["service"],
    buckets=GROUP_BUCKETS,
)
SERVICE_COMMIT_SECONDS = Histogram(
    "sagagen_service_commit_duration_seconds",
    "Time that a group of calls held a service's database, with its fsync.",
    ["service"],
    buckets=COMMIT_BUCKETS_S,
)

STORE_RETRIES = Counter(
    "sagagen_store_retries",
    "Transactions of a service in PostgreSQL that were repeated, by SQLSTATE; `barrier`: two calls of a step met; "
    "`turn`: others waited for that row.",
    ["service", "code"],
)

# HTTP and gRPC, named by OpenTelemetry's conventions in Prometheus' spelling

HTTP_SECONDS = Histogram(
    "http_server_request_duration_seconds",
    "Duration of HTTP requests.",
    ["http_request_method", "http_route", "http_response_status_code"],
    buckets=CALL_BUCKETS_S,
)
RPC_SERVER_SECONDS = Histogram(
    "rpc_server_call_duration_seconds",
    "Duration of calls that a service answered.",
    ["rpc_system_name", "rpc_method", "rpc_response_status_code"],
    buckets=CALL_BUCKETS_S,
)
RPC_CLIENT_SECONDS = Histogram(
    "rpc_client_call_duration_seconds",
    "Duration of calls that the gateway made.",
    ["rpc_system_name", "rpc_method", "rpc_response_status_code", "server_address"],
    buckets=CALL_BUCKETS_S,
)
CERTIFICATE_EXPIRES = Gauge(
    "sagagen_certificate_expiry_timestamp_seconds",
    "When a certificate of this process expires, in seconds since the epoch, by the setting that names its folder.",
    ["setting"],
)
TURNED_AWAY = Counter(
    "sagagen_requests_turned_away",
    "Writes that were refused before anything was read of them, since there was too much to do; "
    "they are in no other metric.",
)
REFUSED = Counter(
    "sagagen_requests_refused",
    "Requests that a limit of callers or the contract's origins refused, by reason: caller_rate, address_rate, "
    "failed_authentications, running_sagas, origin.",
    ["reason"],
)


@cache
def child(metric: Instrument[Series], *labels: str) -> Series:
    """`metric.labels(*labels)`, looked up once: the contract bounds how many there are."""
    return metric.labels(*labels)


def exemplar(trace: TraceContext, span_id: str = "") -> dict[str, str] | None:
    """What leads from a bucket to a trace; None if nobody keeps that trace."""
    if tracing.active() is None or not trace.is_sampled:
        return None
    return {"trace_id": trace.trace_id, "span_id": span_id or trace.span_id}
