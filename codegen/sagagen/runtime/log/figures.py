"""What the log tells of many sagas at once, by a reader of its own: neither the engine's reader nor its writer waits.

The reader is opened when somebody first asks. Every statement goes by an index, or looks at a bounded number of the
newest sagas. No column of a payload is read.
"""

import sqlite3
import time
from asyncio import Lock
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from itertools import pairwise
from typing import TypeVar

from sagagen.runtime.log.search import open_counts
from sagagen.runtime.model.definition import Saga
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.saga.figures import (
    MINUTES,
    Count,
    DefinitionFigures,
    Groups,
    Minute,
    Overview,
    SagaGroup,
    counts_of_open,
    resting_at,
    running,
)
from sagagen.runtime.saga.kept_answers import KeptAnswers
from sagagen.runtime.saga.search import OpenCount
from sagagen.runtime.saga.step_figures import KINDS, SeenRow, SeenSaga, StepTally
from sagagen.runtime.sqlite.database import Database

T = TypeVar("T")

LOOKED_AT = 3_000
"""Stuck sagas that groups are made of, and as many active ones: the newest."""
BACK_LOOKED_AT = 500
"""Sagas of each name that have turned back and ended: those of the last hour, and the newest."""
SAMPLE_ENDED, SAMPLE_OPEN = 300, 100
_OPEN_SEEN = 5_000
"""Open sagas among which those of one definition are looked for."""
_MINUTE_MS = 60_000
_ENDED = "status IN ('COMPLETED', 'COMPENSATED', 'SUPERSEDED')"

COUNT_ENDED = f"""
SELECT name, version, status, max((updated_ms - ?1) / {_MINUTE_MS}, -1) AS minute, count(*) AS count
FROM saga WHERE {_ENDED} GROUP BY 1, 2, 3, 4
"""
COUNT_STUCK_LATELY = f"""
SELECT (updated_ms - ?1) / {_MINUTE_MS} AS minute, count(*) AS count
FROM saga WHERE status = 'STUCK' AND updated_ms >= ?1 GROUP BY 1
"""
SELECT_FIRST = """
SELECT number, started_ms FROM saga WHERE number > ?1 AND name = ?2 AND version = ?3 AND digest = ?4
ORDER BY number LIMIT 1
"""
SELECT_LAST_NUMBER = "SELECT max(number) AS number FROM saga"
SELECT_FIRST_NUMBER = "SELECT min(number) AS number FROM saga"
SELECT_FROM_NUMBER = "SELECT number, started_ms FROM saga WHERE number >= ?1 ORDER BY number LIMIT 1"
_GROUPED = """
SELECT l.name, l.status, coalesce(e.step, '') AS step,
       CASE WHEN e.kind = 'HELD' THEN 'HELD' ELSE coalesce(nullif(e.reason, ''), e.code, '') END AS error,
       count(*) AS count, min(l.started_ms) AS oldest_ms, max(l.started_ms) AS newest_ms,
       group_concat(DISTINCT l.version) AS versions
"""
COUNT_STUCK = "SELECT count(*) AS count FROM (SELECT 1 FROM saga WHERE status = 'STUCK' LIMIT ?1)"
COUNT_ACTIVE = COUNT_STUCK.replace("status = 'STUCK'", "status IN ('RUNNING', 'COMPENSATING')")
GROUP_STUCK = f"""
{_GROUPED} FROM (
    SELECT number, name, version, status, started_ms FROM saga WHERE status = 'STUCK' ORDER BY number DESC LIMIT ?1
) AS l JOIN event AS e ON e.seq = (SELECT max(seq) FROM event WHERE saga = l.number AND kind IN ('STUCK', 'HELD'))
GROUP BY 1, 2, 3, 4
"""
GROUP_ACTIVE = f"""
{_GROUPED} FROM (
    SELECT number, name, version, status, started_ms, (SELECT max(seq) FROM event WHERE saga = number) AS last
    FROM saga WHERE status IN ('RUNNING', 'COMPENSATING') ORDER BY number DESC LIMIT ?1
) AS l JOIN event AS e ON e.seq = CASE
    WHEN (SELECT kind FROM event WHERE seq = l.last) = 'FAILED' THEN l.last
    WHEN l.status = 'COMPENSATING' THEN (SELECT max(seq) FROM event WHERE saga = l.number AND kind = 'TURNED_BACK')
END
GROUP BY 1, 2, 3, 4
"""
GROUP_TURNED_BACK = f"""
{_GROUPED} FROM (
    SELECT number, name, version, status, started_ms FROM saga WHERE number IN (
        SELECT number FROM saga
        WHERE {_ENDED} AND name = ?1 AND updated_ms >= ?2 AND status = 'COMPENSATED' ORDER BY updated_ms DESC LIMIT ?3
    )
) AS l JOIN event AS e ON e.seq = (SELECT max(seq) FROM event WHERE saga = l.number AND kind = 'TURNED_BACK')
GROUP BY 1, 2, 3, 4
"""
SELECT_NEXT_ENDED = f"SELECT min(name) AS name FROM saga WHERE {_ENDED} AND name > ?1"
SAMPLE_OF_ENDED = f"""
SELECT number, status, updated_ms, NULL AS wake_ms FROM saga
WHERE {_ENDED} AND name = ?1 AND version = ?2 ORDER BY updated_ms DESC LIMIT ?3
"""
SAMPLE_OF_OPEN = """
SELECT number, status, updated_ms, wake_ms FROM (
    SELECT number, name, version, digest, status, updated_ms, wake_ms FROM saga
    WHERE status IN ('RUNNING', 'COMPENSATING') ORDER BY number DESC LIMIT ?5
) WHERE name = ?1 AND version = ?2 AND digest = ?3 ORDER BY number DESC LIMIT ?4
"""
SAMPLE_OF_STUCK = SAMPLE_OF_OPEN.replace("status IN ('RUNNING', 'COMPENSATING')", "status = 'STUCK'")
SELECT_SEEN = f"""
SELECT saga, at_ms, kind, coalesce(step, '') AS step, coalesce(direction, '') AS direction,
       coalesce(attempt, 0) AS attempt, coalesce(outcome, '') AS outcome,
       next_request IS NOT NULL OR next_problem IS NOT NULL OR until_ms IS NOT NULL AS plans,
       coalesce(next_step, '') AS next_step
FROM event WHERE saga = ?1 AND kind IN ({", ".join(f"'{kind}'" for kind in KINDS)}) ORDER BY seq
"""


class LogFigures:
    """Implements `SagaFigures` on the log in a file."""

    def __init__(self, open_reader: Callable[[], Database], clock_ms: Callable[[], int]) -> None:
        """Nothing is opened yet. Whoever made it enters it, so that it is closed before the log is."""
        self._open_reader = open_reader
        self._now_ms = clock_ms
        self._stack = AsyncExitStack()
        self._reader: Database | None = None
        self._opening = Lock()
        self._kept = KeptAnswers()
        self._first = _FirstOnes()

    async def close(self) -> None:
        await self._stack.aclose()

    async def overview(self, newest: Sequence[Saga]) -> Overview:
        counts = await self.open_counts()
        work = partial(
            _overview, counts=counts, newest=tuple(newest), now_ms=self._now_ms(), first=self._first
        )
        return await self._ask("overview", work)

    async def groups(self) -> Groups:
        return await self._ask("groups", partial(_groups, now_ms=self._now_ms()))

    async def of_definition(self, saga: Saga) -> DefinitionFigures:
        counts = await self.open_counts()
        return await self._ask((saga.name, saga.version), partial(_of_definition, saga=saga, counts=counts))

    async def open_counts(self) -> Sequence[OpenCount]:
        return await self._ask("open", open_counts)

    async def _ask(self, question: object, work: Callable[[sqlite3.Connection], T]) -> T:
        async def answer() -> tuple[T, float]:
            return await (await self._opened()).in_thread(partial(_timed, work))

        return await self._kept.ask(question, answer)

    async def _opened(self) -> Database:
        async with self._opening:
            if self._reader is None:
                self._reader = await self._stack.enter_async_context(self._open_reader())
            return self._reader


def _timed(work: Callable[[sqlite3.Connection], T], connection: sqlite3.Connection) -> tuple[T, float]:
    began_s = time.thread_time()
    return work(connection), time.thread_time() - began_s


class _FirstOnes:
    """When the first saga of a definition was accepted: looked for once, and where it is not found yet, further on."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, int, str], int] = {}
        self._looked_at: dict[tuple[str, int, str], int] = {}

    def of(self, connection: sqlite3.Connection, saga: Saga) -> int | None:
        key = saga.name, saga.version, saga.digest
        if key in self._found:
            return self._found[key]
        last = connection.execute(SELECT_LAST_NUMBER).fetchone()["number"] or 0
        found = connection.execute(SELECT_FIRST, (self._looked_at.get(key, 0), *key)).fetchone()
        if found is None:
            self._looked_at[key] = last
            return None
        self._found[key] = found["started_ms"]
        return found["started_ms"]


def _overview(
    connection: sqlite3.Connection,
    counts: Sequence[OpenCount],
    newest: Sequence[Saga],
    now_ms: int,
    first: _FirstOnes,
) -> Overview:
    from_ms = (now_ms // _MINUTE_MS - MINUTES + 1) * _MINUTE_MS
    ended: dict[tuple[str, int, SagaStatus], int] = {}
    minutes = [dict[str, int]() for _ in range(MINUTES)]
    for row in connection.execute(COUNT_ENDED, (from_ms,)):
        key = row["name"], row["version"], SagaStatus(row["status"])
        ended[key] = ended.get(key, 0) + row["count"]
        _add(minutes, row["minute"], row["status"], row["count"])
    for row in connection.execute(COUNT_STUCK_LATELY, (from_ms,)):
        _add(minutes, row["minute"], "STUCK", row["count"])
    started = _started(connection, from_ms)
    begun = {saga.name: first.of(connection, saga) for saga in newest}
    return Overview(
        [*counts_of_open(counts), *(Count(*key, count) for key, count in ended.items())],
        [
            Minute(
                from_ms + number * _MINUTE_MS,
                started[number],
                each.get("COMPLETED", 0),
                each.get("COMPENSATED", 0),
                each.get("STUCK", 0),
            )
            for number, each in enumerate(minutes)
        ],
        {name: at_ms for name, at_ms in begun.items() if at_ms is not None},
    )


def _add(minutes: Sequence[dict[str, int]], number: int, status: str, count: int) -> None:
    if 0 <= number < len(minutes):
        minutes[number][status] = minutes[number].get(status, 0) + count


def _started(connection: sqlite3.Connection, from_ms: int) -> list[int]:
    """Sagas accepted in each minute. They are numbered in that order, so a minute ends at a number that is searched for
    by halves: a thousand looks into the table, however many sagas it has."""
    last = connection.execute(SELECT_LAST_NUMBER).fetchone()["number"] or 0
    first = connection.execute(SELECT_FIRST_NUMBER).fetchone()["number"] or 1
    bounds = [last + 1]
    for minute in reversed(range(MINUTES)):
        bounds.append(_first_since(connection, from_ms + minute * _MINUTE_MS, first, bounds[-1]))
    bounds.reverse()
    return [later - earlier for earlier, later in pairwise(bounds)]


def _first_since(connection: sqlite3.Connection, at_ms: int, first: int, end: int) -> int:
    """The smallest number of a saga that was accepted then or later; `end` if there is none below it."""
    low, high = first, end
    while low < high:
        middle = (low + high) // 2
        row = connection.execute(SELECT_FROM_NUMBER, (middle,)).fetchone()
        if row is None or row["number"] >= high or row["started_ms"] >= at_ms:
            high = middle
        else:
            low = row["number"] + 1
    return min(low, end)


def _groups(connection: sqlite3.Connection, now_ms: int) -> Groups:
    stuck, active = (
        connection.execute(count, (LOOKED_AT + 1,)).fetchone()["count"]
        for count in (COUNT_STUCK, COUNT_ACTIVE)
    )
    rows = connection.execute(GROUP_STUCK, (LOOKED_AT,)).fetchall()
    rows += connection.execute(GROUP_ACTIVE, (LOOKED_AT,)).fetchall()
    for name in _ended_names(connection):
        since_ms = now_ms - MINUTES * _MINUTE_MS
        rows += connection.execute(GROUP_TURNED_BACK, (name, since_ms, BACK_LOOKED_AT)).fetchall()
    return Groups(
        sorted(map(_group, rows), key=lambda group: (-group.count, group.oldest_ms)),
        looked_at=min(stuck, LOOKED_AT) + min(active, LOOKED_AT),
        is_whole=max(stuck, active) <= LOOKED_AT,
    )


def _ended_names(connection: sqlite3.Connection) -> Iterator[str]:
    name = ""
    while (found := connection.execute(SELECT_NEXT_ENDED, (name,)).fetchone()["name"]) is not None:
        yield (name := found)


def _group(row: sqlite3.Row) -> SagaGroup:
    return SagaGroup(
        row["name"],
        SagaStatus(row["status"]),
        row["step"],
        row["error"],
        row["count"],
        row["oldest_ms"],
        row["newest_ms"],
        tuple(sorted(int(version) for version in row["versions"].split(","))),
    )


def _of_definition(
    connection: sqlite3.Connection, saga: Saga, counts: Sequence[OpenCount]
) -> DefinitionFigures:
    key = saga.name, saga.version
    ended = connection.execute(SAMPLE_OF_ENDED, (*key, SAMPLE_ENDED)).fetchall()
    values = (*key, saga.digest, SAMPLE_OPEN, _OPEN_SEEN)
    open_ones = connection.execute(SAMPLE_OF_OPEN, values).fetchall()
    stuck = connection.execute(SAMPLE_OF_STUCK, values).fetchall()
    tally, sample = StepTally(saga), [*ended, *open_ones, *stuck]
    for each in sample:
        tally.add(_seen(connection, each))
    return DefinitionFigures(
        ended=len(ended),
        open=len(open_ones) + len(stuck),
        since_ms=min((each["updated_ms"] for each in sample), default=None),
        calls=tally.calls,
        at=tally.at(resting_at(counts, saga)),
        running_seen=tally.running,
        running=running(counts, saga),
    )


def _seen(connection: sqlite3.Connection, saga: sqlite3.Row) -> SeenSaga:
    status = SagaStatus(saga["status"])
    rows = [SeenRow(*tuple(row)[1:]) for row in connection.execute(SELECT_SEEN, (saga["number"],))]
    return SeenSaga(status, status is SagaStatus.STUCK or bool(saga["wake_ms"]), rows)
