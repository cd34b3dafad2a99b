"""The log's tables of what operators did (`audit`), and of their orders that wait for a second person."""

import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, fields, replace
from functools import partial

from sagagen.runtime.audit.entry import AuditEntry, AuditQuery, Result
from sagagen.runtime.audit.trail import MAX_PENDING, PendingOrder, TooManyPending
from sagagen.runtime.log.group_commit import GroupWriter
from sagagen.runtime.sqlite.database import Database

REMOVED_AT_ONCE = 1000
"""Rows that one write removes."""

_COLUMNS = tuple(column.name for column in fields(AuditEntry))
_PLACES = ", ".join("?" * len(_COLUMNS))
INSERT_ENTRY = f"INSERT INTO audit ({', '.join(_COLUMNS)}) VALUES ({_PLACES}) ON CONFLICT DO NOTHING"
_SELECT = """
SELECT * FROM audit
WHERE at_ms >= :since_ms AND (:by = '' OR by = :by)
    AND (:saga_id = '' OR (saga_id >= :saga_id AND saga_id < :saga_id || char(1114111))
        OR (saga_id <> '' AND substr(:saga_id, 1, length(saga_id)) = saga_id))
ORDER BY seq DESC LIMIT :limit
"""
_SELECT_OLD = """
SELECT seq FROM audit WHERE at_ms < ? UNION ALL SELECT seq FROM audit WHERE at_ms < ? AND result = 'UNKNOWN' LIMIT ?
"""
_REMOVE = f"DELETE FROM audit WHERE seq IN ({_SELECT_OLD})"
_ORDER_COLUMNS = tuple(column.name for column in fields(PendingOrder))
_INSERT_ORDER = (
    f"INSERT INTO pending_order ({', '.join(_ORDER_COLUMNS)}) VALUES ({', '.join('?' * len(_ORDER_COLUMNS))})"
)
_SELECT_ORDERS = "SELECT * FROM pending_order ORDER BY at_ms, id"
_SELECT_ORDER = "SELECT * FROM pending_order WHERE id = ?"
_SELECT_EXPIRED = "SELECT * FROM pending_order WHERE expires_ms <= ? LIMIT ?"
_COUNT_ORDERS = "SELECT count(*) AS count FROM pending_order"
_DELETE_ORDER = "DELETE FROM pending_order WHERE id = ?"


class AuditTable:
    """Implements `AuditTrail`. Whatever writes raises LogUnavailable if nothing can be written."""

    def __init__(self, writer: GroupWriter, reader: Database) -> None:
        self._writer = writer
        self._reader = reader

    async def record(self, entries: Sequence[AuditEntry]) -> None:
        await self._writer.write(partial(_record, entries=entries))

    async def has(self, entry_id: str) -> bool:
        return bool(await self._read("SELECT 1 FROM audit WHERE id = ?", (entry_id,)))

    async def search(self, query: AuditQuery) -> Sequence[AuditEntry]:
        wanted = {"since_ms": query.since_ms, "by": query.by, "saga_id": query.saga_id, "limit": query.limit}
        records = await self._reader.in_thread(lambda c: c.execute(_SELECT, wanted).fetchall())
        return [_entry_of(record) for record in records]

    async def place(self, order: PendingOrder, entry: AuditEntry) -> None:
        await self._writer.write(partial(_place, order=order, entry=entry))

    async def pending(self) -> Sequence[PendingOrder]:
        return [_order_of(record) for record in await self._read(_SELECT_ORDERS, ())]

    async def find(self, order_id: str) -> PendingOrder | None:
        records = await self._read(_SELECT_ORDER, (order_id,))
        return _order_of(records[0]) if records else None

    async def close(self, order_id: str, entry: AuditEntry) -> bool:
        return bool(await self._writer.write(partial(_close, order_id=order_id, entry=entry)))

    async def remove(self, before_ms: int, strangers_before_ms: int) -> int:
        """Entries from before a time (ms since the epoch), and those of strangers from before another.

        REMOVED_AT_ONCE at most. Returns how many.
        """
        values = before_ms, strangers_before_ms, REMOVED_AT_ONCE
        if not await self._read(_SELECT_OLD, (before_ms, strangers_before_ms, 1)):
            return 0  # the rule: no write, and no fsync, each minute
        return await self._writer.write(lambda c: c.execute(_REMOVE, values).rowcount, is_long=True) or 0

    async def expire(self, now_ms: int) -> int:
        """Remove orders that nobody has confirmed in time, each with an entry. Returns how many."""
        if not await self._read(_SELECT_EXPIRED, (now_ms, 1)):
            return 0
        return await self._writer.write(partial(_expire, now_ms=now_ms)) or 0

    async def _read(self, sql: str, values: tuple[object, ...]) -> Sequence[sqlite3.Row]:
        return await self._reader.in_thread(lambda connection: connection.execute(sql, values).fetchall())


def keep_with_row(connection: sqlite3.Connection, entry: AuditEntry) -> None:
    """The entry of a row that is being written; an order that it carries out waits no more."""
    _record(connection, [entry])
    if entry.order_id:
        connection.execute(_DELETE_ORDER, (entry.order_id,))


def _record(connection: sqlite3.Connection, entries: Sequence[AuditEntry]) -> None:
    connection.executemany(INSERT_ENTRY, [astuple(entry) for entry in entries])


def _place(connection: sqlite3.Connection, order: PendingOrder, entry: AuditEntry) -> None:
    if connection.execute(_COUNT_ORDERS).fetchone()["count"] >= MAX_PENDING:
        raise TooManyPending
    connection.execute(_INSERT_ORDER, astuple(order))
    _record(connection, [entry])


def _close(connection: sqlite3.Connection, order_id: str, entry: AuditEntry) -> int:
    closed = connection.execute(_DELETE_ORDER, (order_id,)).rowcount
    if closed:
        _record(connection, [entry])
    return closed


def _expire(connection: sqlite3.Connection, now_ms: int) -> int:
    expired = [_order_of(r) for r in connection.execute(_SELECT_EXPIRED, (now_ms, REMOVED_AT_ONCE))]
    for order in expired:
        why = "nobody confirmed it in time"
        entry = AuditEntry(now_ms, order.by, order.did, Result.REFUSED, order.saga_id, order.id, why)
        _close(connection, order.id, entry)
    return len(expired)


def _entry_of(record: sqlite3.Row) -> AuditEntry:
    entry = AuditEntry(**{name: record[name] for name in _COLUMNS})
    return replace(entry, result=Result(record["result"]))


def _order_of(record: sqlite3.Row) -> PendingOrder:
    return PendingOrder(**{name: record[name] for name in _ORDER_COLUMNS})
