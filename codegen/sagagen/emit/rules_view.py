"""The Prometheus rules of a mesh: what is recorded, when somebody must look, and each saga's objective.

A saga's objective is its own deadline, and what it waits before its start and after its pivot: 99 of 100 runs end
within that. Alerts watch how fast the error budget burns,
each over a long and a short window (Google's SRE workbook, chapter 5).
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sagagen.contract.loading import SAGA_YAML
from sagagen.contract.model import Mesh, Saga
from sagagen.emit.header import header
from sagagen.emit.promql import late_ratio, quantile, rate, selector
from sagagen.emit.saga_tree import longest_s

OBJECTIVE = 0.99
BURNS = (("fast", 14.4, "1h", "5m", "2m", "critical"), ("slow", 6.0, "6h", "30m", "15m", "warning"))
"""Name, how many times faster than the budget allows, long window, short window, for, severity."""
LATE_AFTER_S = 300.0
"""An alert reports a saga that is still open this long after its deadline: its compensations do not get through."""


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
                "List them with `sagagen sagas list --status STUCK`; `sagagen sagas show` says which commands end "
                "each.",
            ),
            AlertView(
                "SagaCompensationFails",
                f"sum by (saga, step) (increase(sagagen_step_attempts_total{_UNDOING_FAILED}[10m])) > 5",
                "0m",
                "warning",
                "the compensation of {{ $labels.saga }}/{{ $labels.step }} keeps failing",
                "It is repeated until its budget is spent; then its sagas are STUCK. Look at the service it calls.",
            ),
            AlertView(
                "SagaVersionMissing",
                "sum by (saga, version) (sagagen_sagas_waiting_for_version) > 0",
                "1m",
                "critical",
                "{{ $value }} sagas {{ $labels.saga }} wait for version {{ $labels.version }}",
                "This deployment does not have the definition that they started on: deploy code that does.",
            ),
            AlertView(
                "EngineNotDriving",
                "max by (saga) (sagagen_engine_undriven_sagas) > 0",
                "30s",
                "critical",
                "{{ $value }} sagas {{ $labels.saga }} have something to do, and no process drives them",
                "On Restate: is an adapter up and reached (`sagagen engine status`)? On a log: look at the "
                "gateways' /readyz.",
            ),
            AlertView(
                "EngineWedged",
                "max by (saga) (sagagen_engine_wedged_sagas) > 0",
                "0m",
                "critical",
                "{{ $value }} sagas {{ $labels.saga }} can't go on: what is recorded of them does not fit",
                "No retry cures it. `sagagen sagas list` or `sagagen engine status` names them; effects are as the "
                "services' own rows tell.",
            ),
            AlertView(
                "SagaLogDiskFull",
                "max(sagagen_log_disk_full) > 0",
                "0m",
                "critical",
                "the saga log's disk is full: new sagas are refused",
                "Open sagas go on in the reserve. Free space on the disk that holds SAGAGEN_DATA_DIR.",
            ),
            AlertView(
                "SagaLogCommitsSlow",
                f"{quantile(0.99, 'sagagen_log_commit_duration_seconds', window='5m')} > 0.25",
                "5m",
                "warning",
                "commits of the saga log are slow",
                "Every step waits for a commit. Look at the disk that holds the log.",
            ),
            AlertView(
                "RedisAway",
                "max by (job, instance) (sagagen_redis_breaker_open) > 0",
                "2m",
                "warning",
                "{{ $labels.instance }} works without Redis",
                "The barrier answers repeated calls, so that only latency suffers.",
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
        alerts=(*(_burn(saga, *burn) for burn in BURNS), _oldest(saga), *_beyond_calls(saga)),
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
        f"{OBJECTIVE:.0%} of its runs should end within {longest_s(saga):.12g} s; over {long} and {short} too few did.",
    )


def _oldest(saga: Saga) -> AlertView:
    limit_s = longest_s(saga) + LATE_AFTER_S
    return AlertView(
        f"SagaUnfinished_{saga.name}",
        f'max(sagagen_oldest_unfinished_saga_age_seconds{{saga="{saga.name}"}}) > {limit_s:.12g}',
        "0m",
        "warning",
        f"a saga {saga.name} is still open {LATE_AFTER_S:g} s after its deadline",
        f"Find it with `sagagen sagas list --saga {saga.name}`: a service does not answer. `sagagen sagas show` says "
        "which, and what you can do.",
    )


def _beyond_calls(saga: Saga) -> Iterator[AlertView]:
    """What may go wrong in sagas that do more than call one step after the other."""
    of = selector(saga=saga.name)
    if saga.events:
        yield AlertView(
            f"SagaEventUnconsumed_{saga.name}",
            f"sum by (event) (increase(sagagen_saga_unconsumed_events_total{of}[1h])) > 0",
            "0m",
            "warning",
            f"sagas {saga.name} got events {{{{ $labels.event }}}} and went another way",
            "Each was answered with 200, and no wait has got it: the saga turned back or ended first. `sagagen sagas "
            "show` lists them as unconsumed; somebody may have to tell who sent them.",
        )
    if any(step.gives_up for step in saga.calls):
        yield AlertView(
            f"SagaGaveUp_{saga.name}",
            f"sum by (step) (increase(sagagen_saga_give_ups_total{of}[1h])) > 0",
            "0m",
            "warning",
            f"sagas {saga.name} ended without {{{{ $labels.step }}}}",
            "The contract says `on_give_up: continue`. The step may have happened; `sagagen sagas show` lists it as "
            "incomplete.",
        )
