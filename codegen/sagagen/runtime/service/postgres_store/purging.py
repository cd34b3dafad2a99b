"""Forgetting the sagas that are older than the retention: in batches, by one replica at a time."""

import asyncio

from sagagen.runtime.postgres.connection import PgConnection

BATCH_ROWS = 500
BATCH_S = 30.0
"""How long a batch may take, in seconds: a server that never answers is asked again at the next time."""


async def purge(connection: PgConnection, schema: str, retention_ms: int, now_ms: int) -> int:
    """The latest `started_ms` of what was forgotten; 0 if there was nothing, or another replica is at it.

    Old is what the engines' stamps and this machine's clock agree on: neither a service nor an engine whose clock runs
    ahead makes it forget too early.
    """
    newest_ms: int | None = await connection.fetchval(f"SELECT {schema}.newest_ms()")
    if newest_ms is None:
        return 0
    old_ms = min(now_ms, newest_ms) - retention_ms
    through_ms = 0
    while True:
        async with asyncio.timeout(BATCH_S):
            forgotten = await _purge_batch(connection, schema, old_ms)
        if forgotten is None:
            return through_ms
        through_ms = forgotten


async def _purge_batch(connection: PgConnection, schema: str, old_ms: int) -> int | None:
    """As the function `purge`; None as well while another replica is at it."""
    await connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
    key = f"SELECT pg_try_advisory_xact_lock(hashtextextended('{schema}/purge', 0))"
    forgotten: int | None = None
    if await connection.fetchval(key):
        forgotten = await connection.fetchval(f"SELECT {schema}.purge($1, $2)", old_ms, BATCH_ROWS)
    await connection.execute("COMMIT")
    return forgotten
