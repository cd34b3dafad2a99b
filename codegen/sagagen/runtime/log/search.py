"""Looking for sagas in the log, by what its current-state table knows."""

import sqlite3
from collections.abc import Sequence

from sagagen.runtime.saga.commands import UnknownSaga
from sagagen.runtime.saga.events import SagaStatus
from sagagen.runtime.saga.search import CallerQuery, OpenCount, SagaPage, SagaQuery, SagaSummary
from sagagen.runtime.saga.where import OPERATORS, Both, Comparison, Either, Negated, Where

PAGE = 200
"""Most sagas that one query reads."""

SELECT_OPEN_COUNTS = """
SELECT name, version, digest, status, CASE WHEN wake_ms > 0 THEN at_steps END AS at_steps, count(*) AS count,
       min(started_ms) AS oldest_ms
FROM saga WHERE status IN ('RUNNING', 'COMPENSATING') GROUP BY name, version, digest, status, 5
UNION ALL
SELECT name, version, digest, status, at_steps, count(*), min(started_ms) FROM saga
WHERE status = 'STUCK' GROUP BY name, version, digest, at_steps
"""
SELECT_ENDED_COUNTS = """
SELECT name, status, count(*) AS count FROM saga
WHERE status IN ('COMPLETED', 'COMPENSATED', 'SUPERSEDED') GROUP BY name, status
"""
SELECT_OF_CALLER = """
SELECT number, saga_id, name, version, status, trace_id, started_ms, updated_ms FROM saga
WHERE caller = ?1 AND caller <> 'anonymous' AND number < ?2 ORDER BY number DESC LIMIT ?3
"""
SELECT_NUMBER = "SELECT number FROM saga WHERE saga_id = ? AND caller = ?"
LOOKED_AT = 1000
"""Sagas of a caller that one query looks at: one who asks for what is rare must not keep the log from others."""
_NEWEST = 2**63 - 1
SELECT_IDS = "SELECT saga_id FROM saga WHERE saga_id >= ? AND saga_id < ? ORDER BY saga_id LIMIT ?"
"""A range of the index of ids; LIKE would give `_` and `%` a meaning."""
_SQL_OPERATORS = {"==": "=", "!=": "<>"}
_LAST_CHARACTER = "\U0010ffff"


def find_ids(connection: sqlite3.Connection, beginning: str, at_most: int) -> list[str]:
    """Ids that begin like this, in order."""
    bounds = (beginning, beginning + _LAST_CHARACTER)
    return [row["saga_id"] for row in connection.execute(SELECT_IDS, (*bounds, at_most))]


def find_sagas(connection: sqlite3.Connection, query: SagaQuery) -> list[sqlite3.Row]:
    """One page of the current-state table, newest first."""
    conditions, values = ["TRUE"], list[object]()
    if set(query.statuses) != set(SagaStatus):  # all of them: also one that nobody knows
        conditions = [f"status IN ({', '.join('?' * len(query.statuses))})"]
        values += [status.value for status in query.statuses]
    for condition, value in (
        ("name = ?", query.saga or None),
        ("started_ms <= ?", query.started_before_ms),
        ("status NOT IN ('RUNNING', 'COMPENSATING', 'STUCK') AND updated_ms >= ?", query.ended_since_ms),
        ("number < ?", int(query.before) if query.before else None),
    ):
        if value is not None:
            conditions.append(condition)
            values.append(value)
    if query.waiting_at is not None:
        # Of a saga that only waits the table knows where. Any other has to be looked at.
        at_one = "".join(" OR instr(' ' || at_steps || ' ', ?)" for _ in query.waiting_at)
        conditions.append(f"(wake_ms IS NULL OR wake_ms = 0 OR status = 'STUCK'{at_one})")
        values += [f" {name} " for name in query.waiting_at]
    if query.where:
        condition, compared = _where(query.where)
        conditions.append(condition)
        values += compared
    select = f"SELECT * FROM saga WHERE {' AND '.join(conditions)} ORDER BY number DESC LIMIT ?"
    return connection.execute(select, (*values, min(PAGE, query.limit))).fetchall()


def find_of_caller(connection: sqlite3.Connection, query: CallerQuery) -> SagaPage:
    """A page of a caller's sagas. Raises UnknownSaga if `after` is none of them."""
    before = _NEWEST
    if query.after:
        numbers = connection.execute(SELECT_NUMBER, (query.after, query.caller)).fetchall()
        if not numbers:
            raise UnknownSaga(query.after)
        before = numbers[0]["number"]
    statuses = {status.value for status in query.statuses}
    found: list[SagaSummary] = []
    last, looked_at = "", 0
    for row in connection.execute(SELECT_OF_CALLER, (query.caller, before, LOOKED_AT + 1)):
        if len(found) == query.limit or looked_at == LOOKED_AT:
            return SagaPage(found, last)
        last, looked_at = row["saga_id"], looked_at + 1
        if row["status"] in statuses:
            found.append(_summary(row))
    return SagaPage(found, "")


def _summary(row: sqlite3.Row) -> SagaSummary:
    return SagaSummary(
        saga_id=row["saga_id"],
        saga=row["name"],
        version=row["version"],
        status=row["status"],
        trace_id=row["trace_id"],
        created_ms=row["started_ms"],
        updated_ms=row["updated_ms"],
    )


def _where(where: Where) -> tuple[str, list[object]]:
    """A condition in SQL, and its parameters: nothing that a person wrote becomes SQL."""
    match where:
        case Comparison(name, operator, value):
            assert operator in OPERATORS, "whoever reads a condition takes no others"
            kind = "text" if isinstance(value, str) else "integer"
            sql = (
                "EXISTS (SELECT 1 FROM saga_index AS i WHERE i.saga = saga.number AND i.name = ? "
                f"AND typeof(i.value) = '{kind}' AND i.value {_SQL_OPERATORS.get(operator, operator)} ?)"
            )
            return sql, [name, value]
        case Negated(part):
            sql, values = _where(part)
            return f"NOT {sql}", values
        case Both(parts):
            return _joined(" AND ", parts)
        case Either(parts):
            return _joined(" OR ", parts)


def _joined(word: str, parts: Sequence[Where]) -> tuple[str, list[object]]:
    compiled = [_where(part) for part in parts]
    return f"({word.join(sql for sql, _ in compiled)})", [value for _, values in compiled for value in values]


def open_counts(connection: sqlite3.Connection) -> list[OpenCount]:
    """All open sagas, counted; from the indexes of the active and the stuck ones."""
    return [
        OpenCount(
            row["name"],
            row["version"],
            row["digest"],
            SagaStatus(row["status"]),
            row["count"],
            row["oldest_ms"],
            tuple((row["at_steps"] or "").split()),
        )
        for row in connection.execute(SELECT_OPEN_COUNTS)
    ]


def ended_counts(connection: sqlite3.Connection) -> dict[tuple[str, SagaStatus], int]:
    return {
        (row["name"], SagaStatus(row["status"])): row["count"]
        for row in connection.execute(SELECT_ENDED_COUNTS)
    }
