"""*Now*: how all sagas stand, what keeps some of them, and how fast they begin and end."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sagagen.runtime.admin.figures_shown import groups_shown, overview_shown
from sagagen.runtime.console.page import Page, View, Visit
from sagagen.runtime.saga.events import SagaStatus

GROUPS = 6
"""Groups that are shown here; *Sagas* has all."""
CHART_HEIGHT = 56
STATUSES = (
    SagaStatus.RUNNING,
    SagaStatus.COMPENSATING,
    SagaStatus.STUCK,
    SagaStatus.COMPLETED,
    SagaStatus.COMPENSATED,
)


@dataclass(frozen=True, slots=True)
class Bar:
    """A minute of the chart; heights in its units, from the bottom."""

    x: int
    started: int
    completed: int
    compensated: int
    title: str


async def look(visit: Visit) -> Page:
    operations = visit.desk.operations
    overview = await overview_shown(operations.figures, operations.definitions)
    groups = groups_shown(await operations.figures.groups())
    shown = [{**group, "path": visit.path("/group", **group["query"])} for group in groups["groups"] or ()]
    keeping = [group for group in shown if SagaStatus(group["status"]).is_open]
    counts: Sequence[Mapping[str, Any]] = overview["counts"]
    minutes: Sequence[Mapping[str, Any]] | None = overview["minutes"]
    totals = Counter[str]()
    for count in counts:
        totals[count["status"]] += count["count"]
    disk = visit.desk.sagas.disk_use()
    values = {
        "totals": [
            {"status": str(status), "count": totals[status], "path": visit.path("/sagas", status=str(status))}
            for status in STATUSES
        ],
        "sagas": [_saga(visit, name, counts, overview) for name in _names(visit, counts)],
        "groups": keeping[:GROUPS],
        "groups_known": groups["groups"] is not None,
        "more_groups": max(0, len(keeping) - GROUPS),
        "turned_back": [group for group in shown if not SagaStatus(group["status"]).is_open][:GROUPS],
        "chart": None if minutes is None else _chart(minutes),
        "height": CHART_HEIGHT,
        "rate": None if minutes is None else _rates(minutes),
        "total_of": None if minutes is None else _totals_of(minutes),
        "oldest": _oldest(counts),
        "disk_mb": None if disk is None else disk.size_bytes / 1e6,
        "is_disk_full": disk is not None and disk.is_full,
        "problems": await visit.desk.readiness.problems(),
    }
    return Page("Now", values, "sagagen sagas stats")


def _names(visit: Visit, counts: Sequence[Mapping[str, Any]]) -> Sequence[str]:
    known = visit.desk.operations.definitions.names
    return list(dict.fromkeys((*known, *(count["saga"] for count in counts))))


def _saga(
    visit: Visit, name: str, counts: Sequence[Mapping[str, Any]], overview: Mapping[str, Any]
) -> Mapping[str, Any]:
    own = [count for count in counts if count["saga"] == name]
    by_status = Counter[str]()
    for count in own:
        by_status[count["status"]] += count["count"]
    since = next((each for each in overview["since_deployment"] or () if each["saga"] == name), None)
    return {
        "name": name,
        "path": visit.path("/sagas", saga=name, status="ALL"),
        "counts": [
            {
                "status": str(status),
                "count": by_status[status],
                "path": visit.path("/sagas", saga=name, status=str(status)),
            }
            for status in STATUSES
        ],
        "oldest_at": min((count["oldest_at"] for count in own if count["oldest_at"]), default=None),
        "since": since,
    }


def _oldest(counts: Sequence[Mapping[str, Any]]) -> Mapping[str, str]:
    """When the oldest open saga was accepted, by status."""
    found: dict[str, str] = {}
    for count in counts:
        at, status = count["oldest_at"], count["status"]
        if at and SagaStatus(status).is_open:
            found[status] = min(found.get(status, at), at)
    return found


def _totals_of(minutes: Sequence[Mapping[str, Any]]) -> Mapping[str, int]:
    return {name: sum(minute[name] for minute in minutes) for name in ("started", "completed", "compensated")}


def _rates(minutes: Sequence[Mapping[str, Any]]) -> Mapping[str, float]:
    """A minute, over the last five whole ones."""
    last = minutes[-6:-1] or minutes
    return {
        name: sum(minute[name] for minute in last) / len(last)
        for name in ("started", "completed", "compensated", "stuck")
    }


def _chart(minutes: Sequence[Mapping[str, Any]]) -> Sequence[Bar]:
    most = max(
        (max(minute["started"], minute["completed"] + minute["compensated"]) for minute in minutes), default=0
    )

    def high(count: int) -> int:
        return 0 if not count else max(2, round(count / most * CHART_HEIGHT))

    return [
        Bar(
            n * 10,
            high(minute["started"]),
            high(minute["completed"]),
            high(minute["compensated"]),
            f"{minute['at'][11:16]} UTC: {minute['started']} started, {minute['completed']} completed, "
            f"{minute['compensated']} compensated, {minute['stuck']} stuck",
        )
        for n, minute in enumerate(minutes)
    ]


VIEW = View("now", "Now", "/", look)
