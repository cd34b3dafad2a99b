"""Figures from sagas that are found by a search, for engines that keep a saga's rows as bytes. See `figures`."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from sagagen.runtime.model.definition import Saga
from sagagen.runtime.saga.events import Accepted, LogEvent, SagaStatus
from sagagen.runtime.saga.figures import (
    MINUTES,
    Count,
    DefinitionFigures,
    Groups,
    Overview,
    SagaGroup,
    Trouble,
    counts_of_open,
    resting_at,
    running,
    trouble_of,
)
from sagagen.runtime.saga.history import fold
from sagagen.runtime.saga.kept_answers import KeptAnswers
from sagagen.runtime.saga.search import OPEN, OpenCount, SagaQuery, UnreadableSaga
from sagagen.runtime.saga.step_figures import SeenSaga, StepTally, seen_row

T = TypeVar("T")

ENDED = tuple(status for status in SagaStatus if not status.is_open)


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many sagas are looked at, at most: the newest."""

    of_groups: int
    """Of stuck ones, and of active ones."""
    turned_back: int
    ended: int
    """Of one definition."""
    open: int


class Recorded(Protocol):
    @property
    def rows(self) -> Sequence[LogEvent]: ...
    @property
    def accepted(self) -> Accepted: ...
    @property
    def cursor(self) -> str: ...


class Sagas(Protocol):
    """Where they are found."""

    async def search(self, query: SagaQuery) -> Sequence[Recorded | UnreadableSaga]: ...

    async def open_counts(self) -> Sequence[OpenCount]: ...

    async def overview(self, newest: Sequence[Saga]) -> Overview: ...

    def rests(self, found: Recorded) -> bool:
        """It only waits."""
        ...


class SearchedFigures:
    """Implements `SagaFigures`."""

    def __init__(self, sagas: Sagas, bounds: Bounds) -> None:
        self._sagas = sagas
        self._bounds = bounds
        self._kept = KeptAnswers()

    async def overview(self, newest: Sequence[Saga]) -> Overview:
        return await self._ask("overview", lambda: self._sagas.overview(newest))

    async def open_counts(self) -> Sequence[OpenCount]:
        return await self._ask("open", self._sagas.open_counts)

    async def groups(self) -> Groups:
        return await self._ask("groups", self._groups)

    async def of_definition(self, saga: Saga) -> DefinitionFigures:
        return await self._ask((saga.name, saga.version), lambda: self._of_definition(saga))

    async def _ask(self, question: object, made: Callable[[], Awaitable[T]]) -> T:
        async def answer() -> tuple[T, float]:
            began_s = time.monotonic()
            return await made(), time.monotonic() - began_s

        return await self._kept.ask(question, answer)

    async def _groups(self) -> Groups:
        most = self._bounds.of_groups
        counted = counts_of_open(await self.open_counts())
        stuck = sum(each.count for each in counted if each.status is SagaStatus.STUCK)
        active = sum(each.count for each in counted if each.status.is_active)
        lately_ms = round(time.time() * 1000) - MINUTES * 60_000
        queries = (
            (SagaQuery(statuses=(SagaStatus.STUCK,)), most),
            (SagaQuery(statuses=(SagaStatus.RUNNING, SagaStatus.COMPENSATING)), most),
            (
                SagaQuery(statuses=(SagaStatus.COMPENSATED,), ended_since_ms=lately_ms),
                self._bounds.turned_back,
            ),
        )
        groups: dict[tuple[str, SagaStatus, Trouble], _Group] = {}
        for query, at_most in queries:
            for found in await self._newest(query, at_most):
                status = fold(found.rows).status
                if trouble := trouble_of(found.rows, status):
                    group = groups.setdefault((found.accepted.saga, status, trouble), _Group())
                    group.add(found.accepted)
        return Groups(
            sorted(
                (group.shown(*key) for key, group in groups.items()),
                key=lambda group: (-group.count, group.oldest_ms),
            ),
            looked_at=min(stuck, most) + min(active, most),
            is_whole=max(stuck, active) <= most,
        )

    async def _of_definition(self, saga: Saga) -> DefinitionFigures:
        def is_of(found: Recorded) -> bool:
            accepted = found.accepted
            return (accepted.version, accepted.digest) == (saga.version, saga.digest)

        query = SagaQuery(saga=saga.name)
        ended = await self._newest(replace(query, statuses=ENDED), self._bounds.ended, is_of)
        open_ones = await self._newest(replace(query, statuses=OPEN), self._bounds.open, is_of)
        tally = StepTally(saga)
        for found in (*ended, *open_ones):
            status = fold(found.rows).status
            is_resting = status is SagaStatus.STUCK or self._sagas.rests(found)
            tally.add(SeenSaga(status, is_resting, [row for row in map(seen_row, found.rows) if row]))
        counts = await self.open_counts()
        return DefinitionFigures(
            ended=len(ended),
            open=len(open_ones),
            since_ms=min((found.rows[-1].at_ms for found in (*ended, *open_ones)), default=None),
            calls=tally.calls,
            at=tally.at(resting_at(counts, saga)),
            running_seen=tally.running,
            running=running(counts, saga),
        )

    async def _newest(
        self, query: SagaQuery, at_most: int, wanted: Callable[[Recorded], bool] = lambda _: True
    ) -> list[Recorded]:
        """The newest that can be read, of as many as may be looked at."""
        found, looked_at = list[Recorded](), 0
        query = replace(query, limit=at_most)
        while looked_at < at_most and (page := await self._sagas.search(query)):
            looked_at += len(page)
            found += [each for each in page if not isinstance(each, UnreadableSaga) and wanted(each)]
            query = replace(query, before=page[-1].cursor, limit=at_most - looked_at)
            await asyncio.sleep(0)  # reading a page is work: others go on before the next one
        return found


@dataclass(slots=True)
class _Group:
    times_ms: list[int] = field(default_factory=list[int])
    versions: set[int] = field(default_factory=set[int])

    def add(self, accepted: Accepted) -> None:
        self.times_ms.append(accepted.at_ms)
        self.versions.add(accepted.version)

    def shown(self, saga: str, status: SagaStatus, trouble: Trouble) -> SagaGroup:
        oldest_ms, newest_ms = min(self.times_ms), max(self.times_ms)
        count, versions = len(self.times_ms), tuple(sorted(self.versions))
        return SagaGroup(saga, status, trouble.step, trouble.error, count, oldest_ms, newest_ms, versions)


def overview_of_counts(open_ones: Sequence[OpenCount], ended: Sequence[Count]) -> Overview:
    """Where nothing else can be told."""
    return Overview([*counts_of_open(open_ones), *ended], None, None)
