"""Reads of a service: a few read-only connections, which see nothing of a group before it is committed."""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from sagagen.runtime.service.call import Db
from sagagen.runtime.service.sqlite_store.guard import Guard, own
from sagagen.runtime.service.sqlite_store.pace import StatementPace
from sagagen.runtime.sqlite.database import Database

CONNECTIONS = 4
_END = own("ROLLBACK")


class Readers:
    """A pool: each read has a connection for itself, and one view of the database from its first query to its last."""

    def __init__(self) -> None:
        self._idle: asyncio.LifoQueue[tuple[Database, Guard, StatementPace]] = asyncio.LifoQueue()

    @classmethod
    @asynccontextmanager
    async def open(cls, path: Path) -> AsyncGenerator["Readers"]:
        """The file must exist and be in WAL mode."""
        readers = cls()
        async with AsyncExitStack() as stack:
            for _ in range(CONNECTIONS):
                database = await stack.enter_async_context(Database(path, is_read_only=True))
                guard = Guard(is_read_only=True)
                pace = StatementPace()
                await database.in_thread(guard.install)
                await database.in_thread(pace.watch)
                readers._idle.put_nowait((database, guard, pace))
            yield readers

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[Db]:
        """Wait for a connection, and use it until the block ends.

        Cancelling is safe at any time: the thread does the clean-up before whatever comes after it.
        """
        database, guard, pace = await self._idle.get()
        db = Db(database, guard, pace)
        try:
            yield db
        finally:
            db.close()
            try:
                if database.is_idle:
                    database.in_place(_end)
                else:  # a handler that was cancelled has left a statement
                    database.interrupt_statement()
                    await database.in_thread(_end)
            finally:
                self._idle.put_nowait((database, guard, pace))


def _end(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute(_END)
