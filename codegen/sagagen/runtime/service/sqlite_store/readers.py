"""Reads of a service: a few read-only connections, which see nothing of a group before it is committed."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from sagagen.runtime.clock import Clock
from sagagen.runtime.service.sqlite_store.db import Session, SqliteDb
from sagagen.runtime.service.sqlite_store.guard import own
from sagagen.runtime.service.sqlite_store.timing import StatementTiming
from sagagen.runtime.sqlite.database import Database, OpenDatabase

CONNECTIONS = 4
_END = own("ROLLBACK")


class Readers:
    """A pool: each read has a connection for itself, and one view of the database from its first query to its last."""

    def __init__(self) -> None:
        self._idle: asyncio.LifoQueue[Session] = asyncio.LifoQueue()

    @classmethod
    @asynccontextmanager
    async def open(
        cls, path: Path, clock: Clock, database_at: OpenDatabase = Database
    ) -> AsyncGenerator["Readers"]:
        """The file must exist and be in WAL mode."""
        readers = cls()
        async with AsyncExitStack() as stack:
            for _ in range(CONNECTIONS):
                timing = StatementTiming(clock.monotonic_s)
                session = await Session.open(path, timing, is_read_only=True, database_at=database_at)
                stack.push_async_callback(session.database.close)
                readers._idle.put_nowait(session)
            yield readers

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[SqliteDb]:
        """Wait for a connection, and use it until the block ends.

        Cancelling is safe at any time: the thread does the clean-up before whatever comes after it.
        """
        session = await self._idle.get()
        db = SqliteDb(session)
        try:
            yield db
        finally:
            db.close()
            try:
                await _end_view(session)
            finally:
                self._idle.put_nowait(session)


async def _end_view(session: Session) -> None:
    if session.database.is_idle:
        _end(session.connection)
    else:  # a handler that was cancelled has left a statement
        session.database.interrupt_statement()
        await session.database.in_thread(_end)


def _end(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute(_END)
