"""Reads sagas back. One that can't be read is told from the others, and keeps none of them back."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sagagen.runtime.postgres.connection import PgConnection, Record
from sagagen.runtime.postgres_log import schema as sql
from sagagen.runtime.postgres_log.errors import SagaUnreadable
from sagagen.runtime.postgres_log.sealing import SagaSeal, Sealing
from sagagen.runtime.saga.commands import UnknownSaga
from sagagen.runtime.saga.events import Accepted, SagaStatus
from sagagen.runtime.saga.journal import JournalUnreadable
from sagagen.runtime.saga.logged import Found, LoggedSaga, SagaHead, SagaRef
from sagagen.runtime.saga.result import SagaResult
from sagagen.runtime.saga.search import CallerQuery, SagaPage, SagaQuery, SagaSummary, UnreadableSaga
from sagagen.runtime.saga.where import OPERATORS, Both, Comparison, Either, Negated, Where

PAGE = 100
"""Sagas that recovery reads with one query: while they are decoded, nothing else happens in the process."""
SEARCH_PAGE = 200
"""Most sagas that one search reads."""
LOOKED_AT = 1000
"""Sagas of a caller that one query looks at: one who asks for what is rare must not keep the log from others."""
_NEWEST = 2**63 - 1
_LAST_CHARACTER = "\U0010ffff"
_SQL_OPERATORS = {"==": "=", "!=": "<>"}


@dataclass(frozen=True, slots=True)
class OwnedRef(SagaRef):
    """A saga's place, as a life saw it."""

    life: int = 0
    """The life that owned it then, if it was this process's; else 0, and nothing is written by it."""
    seal: SagaSeal | None = None
    """By what its rows are sealed, where the log is encrypted."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose sagas are this process's."""

    life: int
    shards: Collection[int]
    sealing: Sealing

    def ref(self, record: Record, seal: SagaSeal | None) -> OwnedRef:
        is_own = self.owns(record)
        return OwnedRef(record["number"], record["trace_id"], self.life if is_own else 0, seal)

    def owns(self, record: Record) -> bool:
        return record["shard"] in self.shards


async def find_head(connection: PgConnection, saga_id: str, owner: Owner) -> SagaHead | None:
    """Where a saga stands; None if there is no such saga. Raises SagaUnreadable."""
    record: Any = await connection.fetchrow(sql.HEAD, saga_id)
    if record is None:
        return None
    try:
        fingerprint = owner.sealing.opened_fingerprint(record)
        result = await _result(connection, record, owner)
    except JournalUnreadable as error:
        raise SagaUnreadable(_why(saga_id, error)) from error
    shown = {**record, "fingerprint": fingerprint}
    return SagaHead.of(shown, result, is_elsewhere=not owner.owns(record))


async def _result(connection: PgConnection, head: Any, owner: Owner) -> SagaResult | None:
    """None where there is none, or where it can't be read any more. Raises JournalUnreadable."""
    if head["rows"] is None:
        return None
    above = await _subjects(connection, [head])
    opened = owner.sealing.opened(head, [head], above.get(head["subject"]))
    results = (getattr(row, "result", None) for row in opened.rows if not opened.hidden)
    return next((result for result in results if result is not None), None)


async def _subjects(connection: PgConnection, sagas: Sequence[Record]) -> Mapping[int, Record]:
    """The keys of the sagas' subjects, by number."""
    numbers = list({saga["subject"] for saga in sagas} - {None})
    if not numbers:
        return {}
    return {record["number"]: record for record in await connection.fetch(sql.SUBJECTS, numbers)}


async def find_saga(connection: PgConnection, saga_id: str, owner: Owner) -> LoggedSaga | None:
    """A saga with all of its rows; None if there is no such saga. Raises SagaUnreadable."""
    records = await connection.fetch(sql.SAGA, saga_id)
    for found in await with_rows(connection, records, owner):
        if isinstance(found, UnreadableSaga):
            raise SagaUnreadable(found.why)
        return found
    return None


async def active_page(
    connection: PgConnection, shards: Collection[int], after: int, owner: Owner
) -> list[Found]:
    """The next active sagas of these shards after this number, oldest first."""
    return await with_rows(connection, await connection.fetch(sql.ACTIVE, list(shards), after, PAGE), owner)


async def search_sagas(connection: PgConnection, query: SagaQuery, owner: Owner) -> list[Found]:
    """A page of the sagas that match, newest first."""
    select, values = _search(query)
    return await with_rows(connection, await connection.fetch(select, *values), owner)


async def with_rows(connection: PgConnection, sagas: Sequence[Record], owner: Owner) -> list[Found]:
    """Sagas with their rows, in the order of the table's."""
    if not sagas:
        return []
    batches = await connection.fetch(sql.BATCHES, [saga["number"] for saga in sagas])
    of_saga = {number: list(group) for number, group in groupby(batches, lambda record: record["saga"])}
    above = await _subjects(connection, sagas)
    return [_read(saga, of_saga.get(saga["number"], []), above.get(saga["subject"]), owner) for saga in sagas]


def _read(saga: Record, batches: Sequence[Record], above: Record | None, owner: Owner) -> Found:
    try:
        opened = owner.sealing.opened(saga, batches, above)
        rows = opened.rows
        if not rows or not isinstance(rows[0], Accepted):
            raise JournalUnreadable("its first row is missing")
    except JournalUnreadable as error:
        return UnreadableSaga(
            saga_id=saga["saga_id"],
            saga=saga["name"],
            version=saga["version"],
            status=saga["status"],
            started_ms=saga["started_ms"],
            why=_why(saga["saga_id"], error),
            cursor=str(saga["number"]),
        )
    return LoggedSaga(
        owner.ref(saga, opened.seal), rows, saga["wake_ms"], opened.hidden, is_elsewhere=not owner.owns(saga)
    )


def _why(saga_id: str, error: Exception) -> str:
    return f"saga {saga_id} can't be read from the log: {error}"


async def find_ids(connection: PgConnection, beginning: str, at_most: int) -> list[str]:
    """Ids that begin like this, in order."""
    found = await connection.fetch(sql.IDS, beginning, beginning + _LAST_CHARACTER, at_most)
    return [record["saga_id"] for record in found]


async def sagas_of_caller(connection: PgConnection, query: CallerQuery) -> SagaPage:
    """A page of a caller's sagas, newest first. Raises UnknownSaga if `after` is none of them."""
    before = _NEWEST
    if query.after:
        before = await connection.fetchval(sql.NUMBER, query.after, query.caller)
        if before is None:
            raise UnknownSaga(query.after)
    statuses = {status.value for status in query.statuses}
    found: list[SagaSummary] = []
    last = ""
    for looked_at, record in enumerate(
        await connection.fetch(sql.OF_CALLER, query.caller, before, LOOKED_AT + 1)
    ):
        if len(found) == query.limit or looked_at == LOOKED_AT:
            return SagaPage(found, last)
        last = record["saga_id"]
        if record["status"] in statuses:
            found.append(
                SagaSummary(
                    saga_id=record["saga_id"],
                    saga=record["name"],
                    version=record["version"],
                    status=record["status"],
                    trace_id=record["trace_id"],
                    created_ms=record["started_ms"],
                    updated_ms=record["updated_ms"],
                )
            )
    return SagaPage(found, "")


class _Values:
    """Parameters of a statement: nothing that a person wrote becomes SQL."""

    def __init__(self) -> None:
        self.all: list[object] = []

    def add(self, value: object, kind: str) -> str:
        """The place of a value. Its type is said there: the server can't tell it everywhere."""
        self.all.append(value)
        return f"${len(self.all)}::{kind}"


def _search(query: SagaQuery) -> tuple[str, list[object]]:
    values, conditions = _Values(), ["TRUE"]
    if set(query.statuses) != set(SagaStatus):  # all of them: also one that nobody knows
        conditions.append(
            f"status = ANY ({values.add([str(status) for status in query.statuses], 'text[]')})"
        )
    if query.saga:
        conditions.append(f"name = {values.add(query.saga, 'text')}")
    if query.started_before_ms is not None:
        conditions.append(f"started_ms <= {values.add(query.started_before_ms, 'bigint')}")
    if query.ended_since_ms is not None:
        conditions.append("status NOT IN ('RUNNING', 'COMPENSATING', 'STUCK')")
        conditions.append(f"updated_ms >= {values.add(query.ended_since_ms, 'bigint')}")
    if query.before:
        conditions.append(f"number < {values.add(int(query.before), 'bigint')}")
    if query.waiting_at is not None:
        # Of a saga that only waits the table knows where. Any other has to be looked at.
        at = values.add(list(query.waiting_at), "text[]")
        conditions.append(
            f"(wake_ms IS NULL OR wake_ms = 0 OR status = 'STUCK' OR string_to_array(at_steps, ' ') && {at})"
        )
    if query.where:
        conditions.append(_where(query.where, values))
    limit = values.add(min(SEARCH_PAGE, query.limit), "bigint")
    select = (
        f"SELECT * FROM {sql.SCHEMA}.saga WHERE {' AND '.join(conditions)} ORDER BY number DESC LIMIT {limit}"
    )
    return select, values.all


def _where(where: Where, values: _Values) -> str:
    match where:
        case Comparison(name, operator, value):
            assert operator in OPERATORS, "whoever reads a condition takes no others"
            value = value if isinstance(value, str) else int(value)
            if operator == "==":
                return f"coalesce(found_by @> {values.add(json.dumps({name: value}), 'text')}::jsonb, false)"
            place, compared = values.add(name, "text"), _SQL_OPERATORS.get(operator, operator)
            kind, column = ("string", f'(found_by ->> {place}) COLLATE "C"')
            given = values.add(value, "text")
            if not isinstance(value, str):
                kind, column = "number", f"(found_by ->> {place})::numeric"
                values.all[-1] = str(value)
                given += "::numeric"
            of_kind = f"jsonb_typeof(found_by -> {place}) = '{kind}'"
            return f"(CASE WHEN {of_kind} THEN {column} {compared} {given} ELSE false END)"
        case Negated(part):
            return f"NOT {_where(part, values)}"
        case Both(parts):
            return "(" + " AND ".join(_where(part, values) for part in parts) + ")"
        case Either(parts):
            return "(" + " OR ".join(_where(part, values) for part in parts) + ")"
