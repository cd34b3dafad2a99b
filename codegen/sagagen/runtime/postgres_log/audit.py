"""What operators did, and their orders that wait for a second person. Implements `AuditTrail`."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

from sagagen.runtime.audit.entry import AuditEntry, AuditQuery, Result
from sagagen.runtime.audit.trail import MAX_PENDING, PendingOrder, TooManyPending
from sagagen.runtime.postgres.connection import PgConnection, Record
from sagagen.runtime.postgres_log.writing import audits_as_json

REMOVED_AT_ONCE = 1000
T = TypeVar("T")
Use = Callable[[Callable[[PgConnection], Awaitable[Any]]], Awaitable[Any]]
"""Do something with a connection. Raises JournalUnavailable where the database is away."""

_ENTRY = tuple(column.name for column in fields(AuditEntry))
_ORDER = tuple(column.name for column in fields(PendingOrder))
_COLUMNS = "id, at_ms, by, did, result, saga_id, order_id, reason, scheme, trace_id, address, count"
_RECORDS = """jsonb_to_recordset($1::text::jsonb) AS u (
  id text, at_ms bigint, by text, did text, result text, saga_id text, order_id text, reason text, scheme text,
  trace_id text, address text, count integer)"""
_RECORD = f"INSERT INTO sagagen_engine.audit ({_COLUMNS}) SELECT u.* FROM {_RECORDS} ON CONFLICT DO NOTHING"
_SEARCH = """
SELECT * FROM sagagen_engine.audit
 WHERE at_ms >= $1 AND ($2::text = '' OR by = $2)
   AND ($3::text = '' OR starts_with(saga_id, $3) OR (saga_id <> '' AND starts_with($3, saga_id)))
 ORDER BY seq DESC LIMIT $4
"""
_PLACE = f"""
WITH placed AS (
  INSERT INTO sagagen_engine.pending_order ({", ".join(_ORDER)})
  SELECT $2::text, $3::text, $4::text, $5::text, $6::text, $7::bigint, $8::bigint
   WHERE (SELECT count(*) FROM sagagen_engine.pending_order) < {MAX_PENDING}
  RETURNING id
), recorded AS (
  INSERT INTO sagagen_engine.audit ({_COLUMNS}) SELECT u.* FROM {_RECORDS}, placed ON CONFLICT DO NOTHING
)
SELECT count(*) FROM placed
"""
_CLOSE = f"""
WITH closed AS (DELETE FROM sagagen_engine.pending_order WHERE id = $2 RETURNING id),
recorded AS (
  INSERT INTO sagagen_engine.audit ({_COLUMNS}) SELECT u.* FROM {_RECORDS}, closed ON CONFLICT DO NOTHING
)
SELECT count(*) FROM closed
"""
_REMOVE = """
WITH old AS (
  SELECT seq FROM sagagen_engine.audit
   WHERE at_ms < $1 OR (at_ms < $2 AND result = 'UNKNOWN') LIMIT $3 FOR UPDATE SKIP LOCKED
), removed AS (DELETE FROM sagagen_engine.audit USING old WHERE audit.seq = old.seq RETURNING 1)
SELECT count(*) FROM removed
"""


class AuditTable:
    """In the log's database. Whatever is asked of it raises JournalUnavailable while that is away."""

    def __init__(self, use: Use) -> None:
        self._use = use

    async def record(self, entries: Sequence[AuditEntry]) -> None:
        await self._use(lambda c: c.execute(_RECORD, audits_as_json(entries)))

    async def has(self, entry_id: str) -> bool:
        asked = "SELECT count(*) FROM sagagen_engine.audit WHERE id = $1"
        return bool(await self._use(lambda c: c.fetchval(asked, entry_id)))

    async def search(self, query: AuditQuery) -> Sequence[AuditEntry]:
        values = query.since_ms, query.by, query.saga_id, query.limit
        return [_entry(record) for record in await self._use(lambda c: c.fetch(_SEARCH, *values))]

    async def place(self, order: PendingOrder, entry: AuditEntry) -> None:
        values = [getattr(order, name) for name in _ORDER]
        if not await self._use(lambda c: c.fetchval(_PLACE, audits_as_json([entry]), *values)):
            raise TooManyPending

    async def pending(self) -> Sequence[PendingOrder]:
        asked = "SELECT * FROM sagagen_engine.pending_order ORDER BY at_ms, id"
        return [_order(record) for record in await self._use(lambda c: c.fetch(asked))]

    async def find(self, order_id: str) -> PendingOrder | None:
        asked = "SELECT * FROM sagagen_engine.pending_order WHERE id = $1"
        record = await self._use(lambda c: c.fetchrow(asked, order_id))
        return _order(record) if record else None

    async def close(self, order_id: str, entry: AuditEntry) -> bool:
        return bool(await self._use(lambda c: c.fetchval(_CLOSE, audits_as_json([entry]), order_id)))

    async def remove(self, before_ms: int, strangers_before_ms: int) -> int:
        """Entries from before a time (ms since the epoch), and those of strangers from before another.

        REMOVED_AT_ONCE at most. Returns how many.
        """
        values = before_ms, strangers_before_ms, REMOVED_AT_ONCE
        return await self._use(lambda c: c.fetchval(_REMOVE, *values))

    async def expire(self, now_ms: int) -> int:
        """Remove orders that nobody has confirmed in time, each with an entry. Returns how many."""
        expired = [order for order in await self.pending() if order.expires_ms <= now_ms]
        for order in expired:
            why = "nobody confirmed it in time"
            entry = AuditEntry(now_ms, order.by, order.did, Result.REFUSED, order.saga_id, order.id, why)
            await self.close(order.id, entry)
        return len(expired)


def _entry(record: Record) -> AuditEntry:
    entry = AuditEntry(**{name: record[name] for name in _ENTRY})
    return replace(entry, result=Result(record["result"]))


def _order(record: Record) -> PendingOrder:
    return PendingOrder(**{name: record[name] for name in _ORDER})
