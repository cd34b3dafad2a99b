"""Figures about many sagas as JSON members."""

import shlex
from collections.abc import Mapping, Sequence

from sagagen.runtime.admin.parsing import BadOrder
from sagagen.runtime.admin.shown import Shown
from sagagen.runtime.clock import rfc3339, rfc3339_or_none
from sagagen.runtime.model.definition import Direction, Saga, Step, leaves
from sagagen.runtime.saga.definitions import Definitions
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.saga.figures import (
    CallFigures,
    Count,
    DefinitionFigures,
    Groups,
    Minute,
    Overview,
    SagaFigures,
    SagaGroup,
)


async def overview_shown(figures: SagaFigures, definitions: Definitions) -> Shown:
    """How all sagas stand, and how fast they begin and end."""
    overview = await figures.overview(definitions.newest)
    return {
        "counts": [_count(each) for each in overview.counts],
        "minutes": None if overview.minutes is None else [_minute(each) for each in overview.minutes],
        "since_deployment": None
        if overview.first_ms is None
        else [_since(overview, saga) for saga in definitions.newest],
    }


def _count(count: Count) -> Shown:
    return {
        "saga": count.saga,
        "version": count.version,
        "status": str(count.status),
        "count": count.count,
        "oldest_at": rfc3339_or_none(count.oldest_ms),
    }


def _minute(minute: Minute) -> Shown:
    return {
        "at": rfc3339(minute.at_ms),
        "started": minute.started,
        "completed": minute.completed,
        "compensated": minute.compensated,
        "stuck": minute.stuck,
    }


def _since(overview: Overview, saga: Saga) -> Shown:
    own = counts_of(overview.counts, saga)
    return {
        "saga": saga.name,
        "version": saga.version,
        "since": rfc3339_or_none((overview.first_ms or {}).get(saga.name)),
        "sagas": sum(own.values()),
        **{str(status).lower(): own.get(status, 0) for status in SagaStatus},
    }


def counts_of(counts: Sequence[Count], saga: Saga) -> Mapping[SagaStatus, int]:
    """Sagas of one version, by status."""
    return {
        each.status: each.count for each in counts if (each.saga, each.version) == (saga.name, saga.version)
    }


def groups_shown(groups: Groups | None) -> Shown:
    """`query` is what `/sagas` finds a group's members by."""
    if groups is None:
        return {"groups": None, "looked_at": 0, "is_whole": False}
    return {
        "groups": [_group(each) for each in groups.groups],
        "looked_at": groups.looked_at,
        "is_whole": groups.is_whole,
    }


def _group(group: SagaGroup) -> Shown:
    return {
        "saga": group.saga,
        "status": str(group.status),
        "step": group.step or None,
        "error": group.error or None,
        "count": group.count,
        "oldest_at": rfc3339(group.oldest_ms),
        "newest_at": rfc3339(group.newest_ms),
        "versions": list(group.versions),
        "query": query_of_group(group),
    }


def query_of_group(group: SagaGroup) -> dict[str, str]:
    """As `/sagas` takes it, and an order for all of its members."""
    query = {
        "saga": group.saga,
        "status": str(group.status),
        "failed_step": group.step,
        "error": group.error,
    }
    return {name: value for name, value in query.items() if value}


def options_of_group(query: Mapping[str, str]) -> str:
    """As the options of `sagagen sagas`."""
    options = ((f"--{name.replace('_', '-')}", value) for name, value in query.items())
    return " ".join(f"{option} {shlex.quote(value)}" for option, value in options)


async def steps_shown(figures: SagaFigures, definitions: Definitions, asked: Mapping[str, str]) -> Shown:
    """How the steps of a saga do. `saga` is its name, `version` that of its definition: the newest where it goes
    unsaid. Raises BadOrder."""
    saga = definition_asked_for(definitions, asked)
    found = await figures.of_definition(saga)
    return {
        "saga": saga.name,
        "version": saga.version,
        "sample": None
        if found is None
        else {"ended": found.ended, "open": found.open, "since": rfc3339_or_none(found.since_ms)},
        "steps": [
            _step(found, element.name, direction)
            for element in leaves(saga.steps)
            for direction in Direction
            if direction is Direction.ACTION or (isinstance(element, Step) and element.compensation)
        ],
    }


def definition_asked_for(definitions: Definitions, asked: Mapping[str, str]) -> Saga:
    """Raises BadOrder."""
    name, version = asked.get("saga", ""), asked.get("version", "")
    if not definitions.names:
        raise BadOrder("no contract is known here: run it in the project's folder")
    if name not in definitions.names:
        raise BadOrder(f'there is no saga "{name}"; there are: {", ".join(definitions.names)}')
    known = definitions.versions(name)
    saga = definitions.get(name, int(version) if version.isdecimal() else known[-1] if not version else -1)
    if saga is None:
        raise BadOrder(f'saga {name} has no version "{version}" here; it has: {", ".join(map(str, known))}')
    return saga


def _step(found: DefinitionFigures | None, name: str, direction: Direction) -> Shown:
    calls = found.calls.get((name, direction)) if found else None
    at = [each for each in found.at if (each.step, each.direction) == (name, direction)] if found else []
    return {
        "step": name,
        "direction": str(direction),
        "at_now": sum(each.count for each in at),
        "stuck": sum(each.count for each in at if each.status is SagaStatus.STUCK),
        **_calls(calls or CallFigures(0, 0, 0, 0, None, None)),
    }


def _calls(calls: CallFigures) -> Shown:
    return {
        "attempts": calls.attempts,
        "refused": calls.refused,
        "failed": calls.failed,
        "failure_rate": calls.failure_rate,
        "p50_ms": calls.p50_ms,
        "p99_ms": calls.p99_ms,
    }
