"""Forgetting: the barrier's rows are deleted by the stamp of their saga, and how far that went is remembered."""

import sqlite3
from dataclasses import dataclass

from sagagen.runtime.service.sqlite_store.guard import own

BATCH_ROWS = 500
"""About as many go at a time, so that calls need not wait long."""

_BEGIN, _COMMIT, _ROLLBACK = own("BEGIN IMMEDIATE"), own("COMMIT"), own("ROLLBACK")


@dataclass(frozen=True, slots=True)
class Purged:
    through_ms: int
    """The latest `started` of what was deleted."""
    has_more: bool


def purge_batch(connection: sqlite3.Connection, *, retention_ms: int, now_ms: int) -> Purged | None:
    """Delete a batch of what is older than the retention; None if there is nothing.

    Rows of one saga have one stamp, so they go together. Old is what the engines' stamps and this machine's clock agree
    on: neither a service nor an engine whose clock runs ahead makes it forget too early.
    """
    newest_ms = _value(connection, "SELECT max(started_ms) FROM sagagen_barrier")
    if newest_ms is None:
        return None
    old_ms = min(now_ms, newest_ms) - retention_ms
    nth_ms = _value(
        connection,
        "SELECT started_ms FROM sagagen_barrier WHERE started_ms < ? ORDER BY started_ms LIMIT 1 OFFSET ?",
        old_ms,
        BATCH_ROWS - 1,
    )
    through_ms = nth_ms or _value(
        connection, "SELECT max(started_ms) FROM sagagen_barrier WHERE started_ms < ?", old_ms
    )
    if through_ms is None:
        return None
    _delete(connection, through_ms)
    return Purged(through_ms, has_more=nth_ms is not None)


def _delete(connection: sqlite3.Connection, through_ms: int) -> None:
    connection.execute(_BEGIN)
    try:
        connection.execute("DELETE FROM sagagen_barrier WHERE started_ms <= ?", (through_ms,))
        connection.execute(
            "UPDATE sagagen_meta SET value = max(value, ?) WHERE name = 'purged_through_ms'", (through_ms,)
        )
        connection.execute(_COMMIT)
    except sqlite3.Error:
        if connection.in_transaction:
            connection.execute(_ROLLBACK)
        raise


def _value(connection: sqlite3.Connection, query: str, *parameters: int) -> int | None:
    row = connection.execute(query, parameters).fetchone()
    return row[0] if row else None
