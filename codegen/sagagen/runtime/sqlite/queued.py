"""The way to aiosqlite's thread by its queue: a private name, `_tx`, for which pyproject.toml holds aiosqlite to 0.22.

aiosqlite's documented methods make a coroutine, a context manager and two closures for each hop, and none of them can
be used where nobody may wait. What is put into the queue is `(future or None, function)`; 0.22.0 dies of None.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable
from functools import partial
from queue import SimpleQueue
from typing import Any, cast

import aiosqlite

from sagagen.runtime.sqlite.thread import Connect, Done, T, Work, and_tell, begin_thread


class QueuedThread:
    """Implements ConnectionThread."""

    def __init__(self, aio: aiosqlite.Connection, connection: sqlite3.Connection) -> None:
        self._aio = aio
        self.connection = connection
        self._queue = cast("SimpleQueue[tuple[asyncio.Future[Any] | None, Any]]", aio._tx)  # pyright: ignore[reportPrivateUsage, reportUnknownMemberType]
        self._is_closed = False

    @classmethod
    async def open(cls, connect: Connect) -> "QueuedThread":
        """Raises what `connect` raises."""
        return cls(*await begin_thread(connect, sqlite3.Connection))

    def run(self, work: Work[T]) -> Awaitable[T]:
        """As ConnectionThread says."""
        if self._is_closed:
            raise ValueError("the database is closed")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((future, partial(work, self.connection)))
        return future

    def post(self, work: Work[object], done: Done) -> None:
        """As ConnectionThread says."""
        if self._is_closed:
            raise ValueError("the database is closed")
        self._queue.put_nowait((None, partial(and_tell(work, done), self.connection)))

    async def close(self) -> None:
        """As ConnectionThread says."""
        if not self._is_closed:
            self._is_closed = True
            await self._aio.close()
