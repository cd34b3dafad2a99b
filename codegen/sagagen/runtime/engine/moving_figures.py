"""What is told of many sagas while a project moves: the figures of both engines, added up. See `saga/figures.py`."""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from sagagen.runtime.model.definition import Direction, Saga
from sagagen.runtime.saga.figures import (
    CallFigures,
    Count,
    DefinitionFigures,
    Groups,
    Minute,
    Overview,
    SagaFigures,
    SagaGroup,
    StepCount,
)
from sagagen.runtime.saga.search import OpenCount

_T = TypeVar("_T")


class MovingFigures:
    """Implements `SagaFigures`. What one of the engines can't tell, nobody can."""

    def __init__(self, entered: SagaFigures, left: SagaFigures) -> None:
        self._entered = entered
        self._left = left

    async def overview(self, newest: Sequence[Saga]) -> Overview:
        one, other = await self._entered.overview(newest), await self._left.overview(newest)
        minutes = first_ms = None
        if one.minutes is not None and other.minutes is not None:
            minutes = _joined((*one.minutes, *other.minutes), lambda each: each.at_ms, _minute)
        if one.first_ms is not None and other.first_ms is not None:
            first_ms = {**one.first_ms, **other.first_ms}
            for saga, at_ms in one.first_ms.items():
                first_ms[saga] = min(at_ms, first_ms[saga])
        counts = (*one.counts, *other.counts)
        return Overview(
            _joined(counts, lambda each: (each.saga, each.version, each.status), _count), minutes, first_ms
        )

    async def open_counts(self) -> Sequence[OpenCount]:
        return [*await self._entered.open_counts(), *await self._left.open_counts()]

    async def groups(self) -> Groups | None:
        one, other = await self._entered.groups(), await self._left.groups()
        if one is None or other is None:
            return None
        groups = _joined(
            (*one.groups, *other.groups),
            lambda each: (each.saga, each.status, each.step, each.error),
            _group,
        )
        groups.sort(key=lambda group: (-group.count, group.oldest_ms))
        return Groups(groups, one.looked_at + other.looked_at, one.is_whole and other.is_whole)

    async def of_definition(self, saga: Saga) -> DefinitionFigures | None:
        one, other = await self._entered.of_definition(saga), await self._left.of_definition(saga)
        if one is None or other is None:
            return one or other
        since_ms = [since for since in (one.since_ms, other.since_ms) if since is not None]
        calls: dict[tuple[str, Direction], CallFigures] = dict(other.calls)
        for key, figures in one.calls.items():
            calls[key] = _calls(figures, calls[key]) if key in calls else figures
        return DefinitionFigures(
            ended=one.ended + other.ended,
            open=one.open + other.open,
            since_ms=min(since_ms, default=None),
            calls=calls,
            at=_joined(
                (*one.at, *other.at), lambda each: (each.step, each.direction, each.status), _step_count
            ),
            running_seen=one.running_seen + other.running_seen,
            running=one.running + other.running,
        )


def _joined(all_: Iterable[_T], key: Callable[[_T], Hashable], join: Callable[[_T, _T], _T]) -> list[_T]:
    found = dict[Hashable, _T]()
    for each in all_:
        known = found.get(key(each))
        found[key(each)] = each if known is None else join(known, each)
    return list(found.values())


def _minute(one: Minute, other: Minute) -> Minute:
    return Minute(
        one.at_ms,
        one.started + other.started,
        one.completed + other.completed,
        one.compensated + other.compensated,
        one.stuck + other.stuck,
    )


def _count(one: Count, other: Count) -> Count:
    oldest_ms = [each.oldest_ms for each in (one, other) if each.oldest_ms is not None]
    return replace(one, count=one.count + other.count, oldest_ms=min(oldest_ms, default=None))


def _group(one: SagaGroup, other: SagaGroup) -> SagaGroup:
    return replace(
        one,
        count=one.count + other.count,
        oldest_ms=min(one.oldest_ms, other.oldest_ms),
        newest_ms=max(one.newest_ms, other.newest_ms),
        versions=tuple(sorted({*one.versions, *other.versions})),
    )


def _step_count(one: StepCount, other: StepCount) -> StepCount:
    return replace(one, count=one.count + other.count)


def _calls(one: CallFigures, other: CallFigures) -> CallFigures:
    """Times are those of the engine that has seen more of them: percentiles can't be added up."""
    more = one if one.attempts >= other.attempts else other
    return CallFigures(
        one.attempts + other.attempts,
        one.refused + other.refused,
        one.failed + other.failed,
        one.done + other.done,
        more.p50_ms,
        more.p99_ms,
    )
