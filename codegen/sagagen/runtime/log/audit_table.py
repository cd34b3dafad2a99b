"""The log's tables of what operators did (`audit`), and of their orders that wait for a second person.

In a log that is encrypted an order that waits is sealed by the log's own key. Of what was done the audit then has no
note: it stands in the saga's row, whose key can be destroyed, and a copy would outlive that.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import astuple, fields, replace
from functools import partial
from typing import TYPE_CHECKING

from sagagen.runtime.audit.entry import AuditEntry, AuditQuery, Result
from sagagen.runtime.audit.trail import MAX_PENDING, PendingOrder, TooManyPending
from sagagen.runtime.log.errors import LogUnavailable
from sagagen.runtime.log.group_commit import GroupWriter
from sagagen.runtime.log.sealing import NO_KEYS
from sagagen.runtime.sqlite.database import Database

if TYPE_CHECKING:
    from sagagen.runtime.vault.vault import DataKey

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

    def __init__(self, writer: GroupWriter, reader: Database, key: "DataKey | None" = None) -> None:
        """`key` is the log's own, where it is encrypted and this process can read it."""
        self._writer = writer
        self._reader = reader
        self._key = key

    async def record(self, entries: Sequence[AuditEntry]) -> None:
        await self._writer.write(partial(_record, entries=entries, has_notes=self._key is None))

    async def has(self, entry_id: str) -> bool:
        return bool(await self._read("SELECT 1 FROM audit WHERE id = ?", (entry_id,)))

    async def search(self, query: AuditQuery) -> Sequence[AuditEntry]:
        wanted = {"since_ms": query.since_ms, "by": query.by, "saga_id": query.saga_id, "limit": query.limit}
        records = await self._reader.in_thread(lambda c: c.execute(_SELECT, wanted).fetchall())
        return [_entry_of(record) for record in records]

    async def place(self, order: PendingOrder, entry: AuditEntry) -> None:
        await self._writer.write(partial(_place, order=order, entry=entry, key=self._key))

    async def pending(self) -> Sequence[PendingOrder]:
        return [_order_of(record, self._key) for record in await self._read(_SELECT_ORDERS, ())]

    async def find(self, order_id: str) -> PendingOrder | None:
        records = await self._read(_SELECT_ORDER, (order_id,))
        return _order_of(records[0], self._key) if records else None

    async def close(self, order_id: str, entry: AuditEntry) -> bool:
        close = partial(_close, order_id=order_id, entry=entry, has_notes=self._key is None)
        return bool(await self._writer.write(close))

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


def keep_with_row(connection: sqlite3.Connection, entry: AuditEntry, *, has_notes: bool) -> None:
    """The entry of a row that is being written; an order that it carries out waits no more."""
    _record(connection, [entry], has_notes=has_notes)
    if entry.order_id:
        connection.execute(_DELETE_ORDER, (entry.order_id,))


def _record(connection: sqlite3.Connection, entries: Sequence[AuditEntry], *, has_notes: bool) -> None:
    kept = [entry if has_notes or not entry.has_note else replace(entry, reason="") for entry in entries]
    connection.executemany(INSERT_ENTRY, [astuple(entry) for entry in kept])


def _place(
    connection: sqlite3.Connection, order: PendingOrder, entry: AuditEntry, key: "DataKey | None"
) -> None:
    if connection.execute(_COUNT_ORDERS).fetchone()["count"] >= MAX_PENDING:
        raise TooManyPending
    values = {column.name: getattr(order, column.name) for column in fields(order)}
    if key:
        values["members"] = key.seal(_place_of(order.id), order.members.encode())
    connection.execute(_INSERT_ORDER, tuple(values.values()))
    _record(connection, [entry], has_notes=key is None)


def _close(connection: sqlite3.Connection, order_id: str, entry: AuditEntry, *, has_notes: bool) -> int:
    closed = connection.execute(_DELETE_ORDER, (order_id,)).rowcount
    if closed:
        _record(connection, [entry], has_notes=has_notes)
    return closed


def _expire(connection: sqlite3.Connection, now_ms: int) -> int:
    expired = connection.execute(_SELECT_EXPIRED, (now_ms, REMOVED_AT_ONCE)).fetchall()
    for order in expired:
        why = "nobody confirmed it in time"
        entry = AuditEntry(
            now_ms, order["by"], order["did"], Result.REFUSED, order["saga_id"], order["id"], why
        )
        _close(connection, order["id"], entry, has_notes=True)
    return len(expired)


def _entry_of(record: sqlite3.Row) -> AuditEntry:
    entry = AuditEntry(**{name: record[name] for name in _COLUMNS})
    return replace(entry, result=Result(record["result"]))


def _order_of(record: sqlite3.Row, key: "DataKey | None") -> PendingOrder:
    values = {name: record[name] for name in _ORDER_COLUMNS}
    if isinstance(values["members"], bytes):
        if key is None:
            raise LogUnavailable(NO_KEYS)
        values["members"] = key.open(_place_of(values["id"]), values["members"]).decode()
    return PendingOrder(**values)


def _place_of(order_id: str) -> str:
    return f"pending_order {order_id} members"
