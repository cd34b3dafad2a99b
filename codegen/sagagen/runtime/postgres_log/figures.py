"""What the log in PostgreSQL tells of many sagas at once. Counting is the server's work."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sagagen.runtime.clock import SystemClock
from sagagen.runtime.model.definition import Saga
from sagagen.runtime.postgres_log import schema as sql
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.saga.figures import MINUTES, Count, Minute, Overview, counts_of_open
from sagagen.runtime.saga.logged import Found, LoggedSaga
from sagagen.runtime.saga.search import OpenCount, SagaQuery
from sagagen.runtime.saga.searched_figures import Bounds, Recorded

if TYPE_CHECKING:
    from sagagen.runtime.postgres_log.log import PostgresLog

BOUNDS = Bounds(of_groups=150, turned_back=50, ended=80, open=50)
"""Rows have to be decoded here: that takes some 0.3 ms a saga."""
_MINUTE_MS = 60_000
_STARTED_SEEN = 200_000
"""New sagas that are counted by minute, at most."""
COUNT_ENDED = f"""
SELECT name, version, status, greatest((updated_ms - $1::bigint) / {_MINUTE_MS}, -1) AS minute, count(*) AS count
  FROM {sql.SCHEMA}.saga WHERE status IN ('COMPLETED', 'COMPENSATED', 'SUPERSEDED') GROUP BY 1, 2, 3, 4
"""
COUNT_STUCK_LATELY = f"""
SELECT (updated_ms - $1::bigint) / {_MINUTE_MS} AS minute, count(*) AS count
  FROM {sql.SCHEMA}.saga WHERE status IN ('RUNNING', 'COMPENSATING', 'STUCK') AND status = 'STUCK'
   AND updated_ms >= $1::bigint GROUP BY 1
"""
COUNT_STARTED = f"""
SELECT (started_ms - $1::bigint) / {_MINUTE_MS} AS minute, count(*) AS count
  FROM (SELECT started_ms FROM {sql.SCHEMA}.saga ORDER BY number DESC LIMIT {_STARTED_SEEN}) AS newest
 WHERE started_ms >= $1::bigint GROUP BY 1
"""
FIRST = f"""
SELECT started_ms FROM {sql.SCHEMA}.saga WHERE name = $1 AND version = $2 AND digest = $3 ORDER BY number LIMIT 1
"""


class FiguresInPostgres:
    """Implements `Sagas` for `SearchedFigures`."""

    def __init__(self, log: "PostgresLog") -> None:
        self._log = log
        self._first: dict[tuple[str, int, str], int] = {}

    async def search(self, query: SagaQuery) -> Sequence[Found]:
        return await self._log.search(query)

    async def open_counts(self) -> Sequence[OpenCount]:
        return await self._log.open_counts()

    def rests(self, found: Recorded) -> bool:
        return isinstance(found, LoggedSaga) and bool(found.wake_ms)

    async def overview(self, newest: Sequence[Saga]) -> Overview:
        from_ms = (SystemClock().wall_ms() // _MINUTE_MS - MINUTES + 1) * _MINUTE_MS
        ended: dict[tuple[str, int, SagaStatus], int] = {}
        minutes = [dict[str, int]() for _ in range(MINUTES)]
        fetch = self._log.fetch
        ended_rows, stuck_rows, started_rows, open_counts = await asyncio.gather(
            fetch(COUNT_ENDED, from_ms),
            fetch(COUNT_STUCK_LATELY, from_ms),
            fetch(COUNT_STARTED, from_ms),
            self._log.open_counts(),
        )
        for row in ended_rows:
            key = row["name"], row["version"], SagaStatus(row["status"])
            ended[key] = ended.get(key, 0) + row["count"]
            _add(minutes, row, row["status"])
        for row in stuck_rows:
            _add(minutes, row, "STUCK")
        for row in started_rows:
            _add(minutes, row, "started")
        return Overview(
            [*counts_of_open(open_counts), *(Count(*key, count) for key, count in ended.items())],
            [
                Minute(
                    from_ms + number * _MINUTE_MS,
                    each.get("started", 0),
                    each.get("COMPLETED", 0),
                    each.get("COMPENSATED", 0),
                    each.get("STUCK", 0),
                )
                for number, each in enumerate(minutes)
            ],
            {saga.name: at_ms for saga in newest if (at_ms := await self._first_ms(saga)) is not None},
        )

    async def _first_ms(self, saga: Saga) -> int | None:
        """It is looked for until it is found."""
        key = saga.name, saga.version, saga.digest
        if key not in self._first:
            rows = await self._log.fetch(FIRST, *key)
            if not rows:
                return None
            self._first[key] = rows[0]["started_ms"]
        return self._first[key]


def _add(minutes: Sequence[dict[str, int]], row: Any, what: str) -> None:
    if 0 <= row["minute"] < len(minutes):
        number: int = row["minute"]
        minutes[number][what] = minutes[number].get(what, 0) + row["count"]
