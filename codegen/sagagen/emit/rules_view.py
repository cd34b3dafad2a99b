"""Prometheus' rules of a mesh: what is recorded, when somebody must look, and each saga's objective.

The objective of a saga is its own deadline: 99 of 100 runs are over within it. Alerts on it watch how fast the error
budget burns, over a long and a short window each (Google's SRE workbook, chapter 5).
"""

from dataclasses import dataclass

from sagagen.contract.loading import SAGA_YAML
from sagagen.contract.model import Mesh, Saga
from sagagen.emit.header import header
from sagagen.emit.promql import late_ratio, quantile, rate, selector

OBJECTIVE = 0.99
BURNS = (("fast", 14.4, "1h", "5m", "2m", "critical"), ("slow", 6.0, "6h", "30m", "15m", "warning"))
"""Name, how many times faster than the budget allows, long window, short window, for, severity."""
LATE_AFTER_S = 300.0
"""A saga that is not over so long after its deadline is told of: its compensations do not get through."""


_UNDOING_FAILED = selector(direction="compensation", outcome="DOUBT")


@dataclass(frozen=True, slots=True)
class RecordView:
    name: str
    expression: str


@dataclass(frozen=True, slots=True)
class AlertView:
    name: str
    expression: str
    for_: str
    severity: str
    summary: str
    description: str


@dataclass(frozen=True, slots=True)
class RuleGroupView:
    name: str
    records: tuple[RecordView, ...] = ()
    alerts: tuple[AlertView, ...] = ()


@dataclass(frozen=True, slots=True)
class RulesView:
    header: str
    groups: tuple[RuleGroupView, ...]


def rules_view(mesh: Mesh) -> RulesView:
    sagas = [_saga_group(saga) for saga in mesh.sagas]
    return RulesView(header([SAGA_YAML]), (_recorded(), _of_mesh(mesh.project), *sagas))


def _recorded() -> RuleGroupView:
    return RuleGroupView(
        "sagagen",
        records=(
            RecordView(
                "saga:sagagen_sagas_started:rate5m", rate("sagagen_sagas_started_total", "saga", "5m")
            ),
            RecordView(
                "saga_status:sagagen_sagas_ended:rate5m",
                rate("sagagen_sagas_ended_total", "saga, status", "5m"),
            ),
            RecordView(
                "saga:sagagen_saga_duration_seconds:p99_5m",
                quantile(0.99, "sagagen_saga_duration_seconds", "saga", "5m"),
            ),
        ),
    )


def _of_mesh(project: str) -> RuleGroupView:
    return RuleGroupView(
        "sagagen-mesh",
        alerts=(
            AlertView(
                "SagaStuck",
                "sum by (saga, version) (sagagen_sagas_stuck) > 0",
                "0m",
                "critical",
                "{{ $value }} sagas {{ $labels.saga }} wait for an operator",
                "See `sagagen sagas list --status STUCK`, then retry, resolve or cancel each.",
            ),
            AlertView(
                "SagaCompensationFails",
                f"sum by (saga, step) (increase(sagagen_step_attempts_total{_UNDOING_FAILED}[10m])) > 5",
                "0m",
                "warning",
                "the compensation of {{ $labels.saga }}/{{ $labels.step }} keeps failing",
                "It is repeated until its budget is spent, then its sagas are STUCK. Look at what it calls.",
            ),
            AlertView(
                "SagaVersionMissing",
                "sum by (saga, version) (sagagen_sagas_waiting_for_version) > 0",
                "1m",
                "critical",
                "{{ $value }} sagas {{ $labels.saga }} wait for version {{ $labels.version }}",
                "This deployment lacks the definition that they started on: deploy code that keeps it.",
            ),
            AlertView(
                "SagaLogDiskFull",
                "max(sagagen_log_disk_full) > 0",
                "0m",
                "critical",
                "the saga log's disk is full: new sagas are refused",
                "Those under way go on in the reserve. Make room where SAGAGEN_DATA_DIR is.",
            ),
            AlertView(
                "SagaLogCommitsSlow",
                f"{quantile(0.99, 'sagagen_log_commit_duration_seconds', window='5m')} > 0.25",
                "5m",
                "warning",
                "commits of the saga log take long",
                "Every step waits for one. Look at the disk that holds the log.",
            ),
            AlertView(
                "RedisAway",
                "max by (job, instance) (sagagen_redis_breaker_open) > 0",
                "2m",
                "warning",
                "{{ $labels.instance }} gets no help from Redis",
                "Repeats are answered by the barrier: nothing is wrong but latency.",
            ),
            AlertView(
                "MeshProcessDown",
                f'up{{job="{project}"}} == 0',
                "1m",
                "critical",
                "{{ $labels.instance }} can't be scraped",
                "The process is down or can't be reached. Sagas that need it wait.",
            ),
        ),
    )


def _saga_group(saga: Saga) -> RuleGroupView:
    windows = sorted({window for _, _, long, short, _, _ in BURNS for window in (long, short)})
    return RuleGroupView(
        f"saga-{saga.name}",
        records=tuple(RecordView(_late(saga, window), late_ratio(saga, window)) for window in windows),
        alerts=(*(_burn(saga, *burn) for burn in BURNS), _oldest(saga)),
    )


def _late(saga: Saga, window: str) -> str:
    return f"{saga.name}:late_ratio:{window}"


def _burn(saga: Saga, name: str, factor: float, long: str, short: str, for_: str, severity: str) -> AlertView:
    limit = f"{factor * (1 - OBJECTIVE):.3f}"
    return AlertView(
        f"SagaErrorBudgetBurn_{saga.name}_{name}",
        f"{_late(saga, long)} > {limit} and {_late(saga, short)} > {limit}",
        for_,
        severity,
        f"{saga.name} burns its error budget {factor:g} times too fast",
        f"{OBJECTIVE:.0%} of its runs are to be over within {saga.deadline_s:g} s; in {long} and {short} too few were.",
    )


def _oldest(saga: Saga) -> AlertView:
    limit_s = saga.deadline_s + LATE_AFTER_S
    return AlertView(
        f"SagaUnfinished_{saga.name}",
        f'max(sagagen_oldest_unfinished_saga_age_seconds{{saga="{saga.name}"}}) > {limit_s:g}',
        "0m",
        "warning",
        f"a saga {saga.name} is not over {LATE_AFTER_S:g} s after its deadline",
        f"See `sagagen sagas list --saga {saga.name}`: it is being undone, and something does not answer.",
    )
