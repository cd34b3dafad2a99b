"""The way to aiosqlite's thread: one hop for a whole unit of work.

aiosqlite documents a method for each thing that a connection can do, and none that runs a function in its thread. A
hop costs more than the statements it carries (43 us for a barrier row in one hop, 109 us through cursors), so ours
carries a function. `DocumentedThread` does that with what aiosqlite documents; `queued.QueuedThread` with less work.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar, cast

import aiosqlite

T = TypeVar("T")

Work = Callable[[sqlite3.Connection], T]
Done = Callable[[Exception | None], object]
Connect = Callable[[type[sqlite3.Connection]], sqlite3.Connection]
"""Opens the connection, of this class."""


class ConnectionThread(Protocol):
    """One connection and the thread that it lives in. Whatever reaches the thread is done, in the order of calls."""

    connection: sqlite3.Connection

    def run(self, work: Work[T]) -> Awaitable[T]:
        """Run `work` in the thread; awaiting it returns or raises what it does. Raises ValueError after `close`."""
        ...

    def post(self, work: Work[object], done: Done) -> None:
        """Run `work` as `run` does; then call `done` in the event loop, with what `work` raised."""
        ...

    async def close(self) -> None:
        """Close the connection when all is done that was brought before, and end the thread."""
        ...


async def begin_thread(
    connect: Connect, connection_class: type[sqlite3.Connection]
) -> tuple[aiosqlite.Connection, sqlite3.Connection]:
    """aiosqlite's connection, and the one of sqlite3 that it lives with. Raises what `connect` raises.

    aiosqlite does not wait for its thread where opening fails, and a thread that has a result for an event loop that is
    gone by then dies with a traceback. So a connection that can't be opened is, to aiosqlite, one that is closed again.
    """
    failed: list[BaseException] = []
    opened: list[sqlite3.Connection] = []

    def connector() -> sqlite3.Connection:
        try:
            opened.append(connect(connection_class))
        except BaseException as error:  # noqa: BLE001 - it is raised again, in the event loop
            failed.append(error)
            opened.append(sqlite3.connect(":memory:", check_same_thread=False))
        return opened[0]

    aio = await aiosqlite.Connection(connector, iter_chunk_size=64)
    if failed:
        await aio.close()
        raise failed[0]
    return aio, opened[0]


class _WorkStatement(str):
    """What stands in the place of a statement, for `_WorkConnection` to run."""

    __slots__ = ("run",)

    run: Callable[[sqlite3.Connection], "_Rows"]


class _Rows:
    """What `run` returned, in the place of a cursor; aiosqlite asks for all its rows."""

    def __init__(self, result: object) -> None:
        self._result = result

    def fetchall(self) -> Any:
        return self._result


class _WorkConnection(sqlite3.Connection):
    """A connection (sqlite3 lets its `factory` be chosen) that takes a function for a statement."""

    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        if isinstance(sql, _WorkStatement):
            return sql.run(self)
        return super().execute(sql, parameters)


class DocumentedThread:
    """By `execute_fetchall`, which runs a connection's `execute` in the thread and returns all rows."""

    def __init__(self, aio: aiosqlite.Connection, connection: sqlite3.Connection) -> None:
        self._aio = aio
        self.connection = connection
        self._posted: deque[Callable[[sqlite3.Connection], None]] = deque()
        self._posting: set[asyncio.Task[None]] = set()
        self._is_closed = False

    @classmethod
    async def open(cls, connect: Connect) -> "DocumentedThread":
        """Raises what `connect` raises."""
        return cls(*await begin_thread(connect, _WorkConnection))

    async def run(self, work: Work[T]) -> T:
        """As ConnectionThread says."""
        if self._is_closed:
            raise ValueError("the database is closed")

        def posted_first(connection: sqlite3.Connection) -> _Rows:
            self._run_posted(connection)
            return _Rows(work(connection))

        return cast(T, await self._aio.execute_fetchall(_statement(posted_first)))

    def post(self, work: Work[object], done: Done) -> None:
        """As ConnectionThread says. A task brings it; whatever is run meanwhile takes it along."""
        self._posted.append(and_tell(work, done))
        task = asyncio.get_running_loop().create_task(self.run(_nothing))
        self._posting.add(task)
        task.add_done_callback(self._posting.discard)

    def _run_posted(self, connection: sqlite3.Connection) -> None:
        while self._posted:
            self._posted.popleft()(connection)

    async def close(self) -> None:
        """As ConnectionThread says."""
        if self._is_closed:
            return
        try:
            await self.run(_nothing)
        finally:  # the thread is told to end though nobody waits for it any more
            self._is_closed = True
            await self._aio.close()


def and_tell(work: Work[object], done: Done) -> Callable[[sqlite3.Connection], None]:
    """`work`, which then lets `done` be called in this event loop."""
    loop = asyncio.get_running_loop()

    def both(connection: sqlite3.Connection) -> None:
        error: Exception | None = None
        try:
            work(connection)
        except Exception as raised:  # noqa: BLE001 - it is for the event loop
            error = raised
        loop.call_soon_threadsafe(done, error)

    return both


def _statement(run: Callable[[sqlite3.Connection], _Rows]) -> _WorkStatement:
    statement = _WorkStatement("run a function")
    statement.run = run
    return statement


def _nothing(_connection: sqlite3.Connection) -> None:
    """What is brought with it is all that is to be done."""
