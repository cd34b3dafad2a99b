"""Grafana's dashboards of a mesh: an overview, one for each saga with a row for each step, one for each service.

Built with Grafana's own foundation SDK, whose types check their shape. What a board shows is data first
(boards.py): if the cache has the board of the same data, nothing is built, and this module is not imported.
"""

import hashlib
import json
from collections.abc import Iterator

from grafana_foundation_sdk.builders import common, prometheus, stat, timeseries
from grafana_foundation_sdk.builders.dashboard import Dashboard, Row
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import DataSourceRef

from sagagen.emit.boards import PauseRow, SagaBoard, ServiceBoard, StepRow
from sagagen.emit.promql import RATE, quantile, rate, selector

PROMETHEUS = DataSourceRef(type_val="prometheus", uid="prometheus")
HEIGHT, WIDTH = 8, 12
_PER_SECOND = "ops"
_LONGEST_UID = 40
"""Grafana's limit."""

Query = tuple[str, str]
"""An expression, and the legend of its series."""


def overview(project: str) -> str:
    """All sagas and services at a glance, as JSON."""
    board = _board(project, "overview", "overview")
    board.with_row(Row("Sagas"))
    for title, metric, unit in (
        ("Active", "sum(sagagen_sagas_in_flight)", units.Short),
        ("Compensating", "sum(sagagen_sagas_compensating)", units.Short),
        ("Stuck", "sum(sagagen_sagas_stuck)", units.Short),
        ("Oldest open saga", "max(sagagen_oldest_unfinished_saga_age_seconds)", units.Seconds),
    ):
        board.with_panel(_number(title, metric, unit))
    for panel in (
        _graph("Sagas accepted", [(rate("sagagen_sagas_started_total", "saga"), "{{saga}}")]),
        _graph("Sagas ended", [(rate("sagagen_sagas_ended_total", "saga, status"), "{{saga}} {{status}}")]),
        _graph(
            "From acceptance to end, p99",
            [(quantile(0.99, "sagagen_saga_duration_seconds", "saga"), "{{saga}}")],
            units.Seconds,
        ),
        _graph(
            "Retries",
            [(rate("sagagen_step_retries_total", "saga, step, direction"), "{{step}} {{direction}}")],
        ),
    ):
        board.with_panel(panel)
    board.with_row(Row("HTTP"))
    board.with_panel(
        _graph(
            "Requests",
            [
                (
                    rate(
                        "http_server_request_duration_seconds_count", "http_route, http_response_status_code"
                    ),
                    "{{http_route}} {{http_response_status_code}}",
                )
            ],
        )
    )
    board.with_panel(
        _graph(
            "Request duration, p99",
            [(quantile(0.99, "http_server_request_duration_seconds", "http_route"), "{{http_route}}")],
            units.Seconds,
        )
    )
    board.with_row(Row("Saga log"))
    for panel in (
        _graph("Commits", [("sum(rate(sagagen_log_fsyncs_total[$__rate_interval]))", "fsyncs")]),
        _graph(
            "Commit duration, p99",
            [(quantile(0.99, "sagagen_log_commit_duration_seconds"), "p99")],
            units.Seconds,
        ),
        _graph(
            "Writes in a commit, median",
            [(quantile(0.5, "sagagen_log_commit_writes"), "writes")],
            units.Short,
        ),
        _graph("Size", [("max(sagagen_log_size_bytes)", "bytes")], units.BytesIEC),
    ):
        board.with_panel(panel)
    board.with_row(Row("Services"))
    board.with_panel(
        _graph(
            "Calls answered",
            [(rate("rpc_server_call_duration_seconds_count", "rpc_method"), "{{rpc_method}}")],
        )
    )
    board.with_panel(
        _graph(
            "Redis is not helping",
            [("max by (instance) (sagagen_redis_breaker_open)", "{{instance}}")],
            units.Short,
        )
    )
    return _json(board)


def saga_board(saga: SagaBoard) -> str:
    """As JSON."""
    board = _board(saga.project, f"saga {saga.name}", f"saga-{saga.name}")
    board.with_row(Row(f"{saga.name}: deadline {saga.deadline_s:g} s"))
    of = {"saga": saga.name}
    for panel in (
        _graph(
            "Ended", [(rate("sagagen_sagas_ended_total", "version, status", **of), "v{{version}} {{status}}")]
        ),
        _graph(
            "From acceptance to end",
            [
                (quantile(share, "sagagen_saga_duration_seconds", **of), f"p{share * 100:g}")
                for share in (0.5, 0.9, 0.99)
            ],
            units.Seconds,
        ),
        _graph(
            "Unfinished",
            [
                (
                    f'sum by (version) (sagagen_sagas_in_flight{{saga="{saga.name}"}})',
                    "v{{version}} active",
                ),
                (f'sum by (version) (sagagen_sagas_stuck{{saga="{saga.name}"}})', "v{{version}} stuck"),
            ],
            units.Short,
        ),
        _graph(
            "Age of the oldest open saga",
            [(f'max(sagagen_oldest_unfinished_saga_age_seconds{{saga="{saga.name}"}})', "oldest")],
            units.Seconds,
        ),
    ):
        board.with_panel(panel)
    for panel in _beyond_calls(saga):
        board.with_panel(panel)
    for step in saga.steps:
        board.with_row(Row(step.title))
        is_pause = isinstance(step, PauseRow)
        for panel in _pause_panels(saga.name, step) if is_pause else _step_panels(saga.name, step):
            board.with_panel(panel)
    return _json(board)


def _beyond_calls(saga: SagaBoard) -> Iterator[timeseries.Panel]:
    """What sagas have that do more than call one step after the other."""
    of = {"saga": saga.name}
    if saga.pauses:
        waiting = f"sum by (step) (sagagen_saga_waiting{selector(**of)})"
        yield _graph("Waiting, by element", [(waiting, "{{step}}")], units.Short)
    if saga.hears:
        by_result = rate("sagagen_saga_events_total", "event, result", **of)
        yield _graph("Events, by result", [(by_result, "{{event}} {{result}}")])
        unconsumed = rate("sagagen_saga_unconsumed_events_total", "event", **of)
        yield _graph("Events that nothing waited for", [(unconsumed, "{{event}}")])
    if saga.gives_up:
        yield _graph("Given up", [(rate("sagagen_saga_give_ups_total", "step", **of), "{{step}}")])


def _pause_panels(saga: str, pause: PauseRow) -> Iterator[timeseries.Panel]:
    of = {"saga": saga, "step": pause.name}
    waiting = f"sum by (version) (sagagen_saga_waiting{selector(**of)})"
    yield _graph("Waiting", [(waiting, "v{{version}}")], units.Short)
    times = [
        (quantile(share, "sagagen_saga_waited_seconds", **of), f"p{share * 100:g}") for share in (0.5, 0.99)
    ]
    yield _graph("Time waited", times, units.Seconds)


def service_board(service: ServiceBoard) -> str:
    """As JSON."""
    board = _board(service.project, f"service {service.name}", f"service-{service.name}")
    protos = "|".join(name.replace(".", "\\\\.") for name in service.implements)
    board.with_row(Row(f"{service.name}: {', '.join(service.implements)}"))
    calls, methods = "rpc_server_call_duration_seconds", f'{{rpc_method=~"({protos})/.*"}}[{RATE}]'
    answered = f"sum by (rpc_method, rpc_response_status_code) (rate({calls}_count{methods}))"
    p99 = f"histogram_quantile(0.99, sum by (le, rpc_method) (rate({calls}_bucket{methods})))"
    of = {"service": service.name}
    for panel in (
        _graph("Calls answered", [(answered, "{{rpc_method}} {{rpc_response_status_code}}")]),
        _graph("Duration, p99", [(p99, "{{rpc_method}}")], units.Seconds),
        _graph(
            "The barrier's decisions",
            [(rate("sagagen_barrier_decisions_total", "decision", **of), "{{decision}}")],
        ),
        _graph(
            "Repeats, by what answered",
            [(rate("sagagen_idempotency_hits_total", "layer", **of), "{{layer}}")],
        ),
        _graph(
            "Commit duration, p99",
            [(quantile(0.99, "sagagen_service_commit_duration_seconds", **of), "p99")],
            units.Seconds,
        ),
        _graph(
            "Calls in a commit, median",
            [(quantile(0.5, "sagagen_service_commit_writes", **of), "calls")],
            units.Short,
        ),
    ):
        board.with_panel(panel)
    return _json(board)


def _step_panels(saga: str, step: StepRow) -> Iterator[timeseries.Panel]:
    of = {"saga": saga, "step": step.name}
    directions = ["action", "compensation"] if step.is_undone else ["action"]
    for direction in directions:
        own = {**of, "direction": direction}
        word = "Attempts" if direction == "action" else "Compensations"
        yield _graph(
            f"{word}, by outcome",
            [(rate("sagagen_step_attempts_total", "outcome, code", **own), "{{outcome}} {{code}}")],
        )
        yield _graph(
            f"{word}, duration",
            [
                (quantile(share, "sagagen_step_attempt_duration_seconds", **own), f"p{share * 100:g}")
                for share in (0.5, 0.99)
            ],
            units.Seconds,
        )


def _board(project: str, title: str, name: str) -> Dashboard:
    return (
        Dashboard(f"{project}: {title}")
        .uid(uid(f"{project}-{name}"))
        .tags(["sagagen", project])
        .refresh("10s")
        .time("now-30m", "now")
        .timezone("browser")
        .readonly()
    )


def uid(name: str) -> str:
    """Different for different names: of two boards with the same uid, Grafana shows only the one that it read last."""
    if len(name) <= _LONGEST_UID:
        return name
    rest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: _LONGEST_UID - len(rest) - 1]}-{rest}"


def _graph(title: str, queries: list[Query], unit: str = _PER_SECOND) -> timeseries.Panel:
    panel = (
        timeseries.Panel()
        .title(title)
        .datasource(PROMETHEUS)
        .unit(unit)
        .min(0)
        .height(HEIGHT)
        .span(WIDTH)
        .legend(
            common.VizLegendOptions()
            .display_mode(shapes.LegendDisplayMode.LIST)
            .placement(shapes.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI).sort(shapes.SortOrder.DESCENDING)
        )
    )
    for letter, (expression, legend) in zip("ABCDEF", queries, strict=False):
        panel.with_target(_query(letter, expression, legend))
    return panel


def _number(title: str, expression: str, unit: str) -> stat.Panel:
    return (
        stat.Panel()
        .title(title)
        .datasource(PROMETHEUS)
        .unit(unit)
        .height(4)
        .span(6)
        .with_target(_query("A", expression, title))
    )


def _query(letter: str, expression: str, legend: str) -> prometheus.Dataquery:
    has_exemplars = "_bucket" in expression and "commit" not in expression
    return (
        prometheus.Dataquery()
        .ref_id(letter)
        .expr(expression)
        .legend_format(legend)
        .exemplar(has_exemplars)
        .datasource(PROMETHEUS)
    )


def _json(board: Dashboard) -> str:
    """Numbers the panels in their order, since the SDK leaves that to Grafana."""
    made = json.loads(JSONEncoder(sort_keys=True).encode(board.build()))
    for number, panel in enumerate(made["panels"], 1):
        panel["id"] = number
    return json.dumps(made, indent=2, sort_keys=True) + "\n"
