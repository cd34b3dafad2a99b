"""The saga log and the services' databases, in SQLite's memory: the product's tables, SQL and group commit, no disk.

A database is there as long as its `MemoryDatabases`, whoever opens and leaves it. What a process has not committed when
its life ends is rolled back. Work runs on the event loop's own thread, one piece a turn, in the order of calls: as with
a thread of its own nobody gets a result at once, and a run is the same run each time.

SQLite's memory has no WAL: who writes and who reads lock each other out. A COMMIT waits until the reads of handlers
that are under way have ended, and such a read waits for who writes, as long as a real one waits for a lock at most.
Whoever reads all it wants in one go, a test or the engine's log, needs no lock: nobody sees what is not committed.
"""

import asyncio
import itertools
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sagagen.runtime.log import transaction
from sagagen.runtime.service.sqlite_store import steps
from sagagen.runtime.sqlite.database import BUSY_TIMEOUT_S, Database, prepare_connection
from sagagen.runtime.sqlite.thread import ConnectionThread, Done, Work
from sagagen.testing.mistakes import unknown
from sagagen.testing.virtual_time import Life

T = TypeVar("T")

SAGA_LOG = "saga log"
"""Name of the engine's database; the others have the names of their services."""
_AGAIN_S = 0.001
_COMMITS: frozenset[object] = frozenset({transaction.commit, steps.commit})

_spaces = itertools.count()


class CommitWatch(Protocol):
    """Looks at every commit of one process. Either may end that process's life."""

    def committing(self, database: str) -> None:
        """All is written, nothing is durable."""
        ...

    def committed(self, database: str) -> None:
        """It is durable, and nobody knows of it yet."""
        ...


class TestDatabase:
    """One database, as a test looks into it: at what is committed."""

    __test__ = False

    def __init__(self, name: str, uri: str) -> None:
        self.name = name
        self._writing = _connect(uri)
        self.connection = _connect(uri, is_read_only=True, is_locking=False)
        """Reads what is committed, also while a process writes."""

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[sqlite3.Row]:
        """All rows of a query; none of a statement that changes something, which is committed at once.

        A row is read by name or position. Raises what sqlite3 raises: that the database is locked, where a statement
        changes something while a handler is in its transaction.
        """
        try:
            return self.connection.execute(sql, parameters).fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_READONLY:
                raise
            return self._writing.execute(sql, parameters).fetchall()

    def close(self) -> None:
        """The last connection of a database takes it along."""
        self.connection.close()
        self._writing.close()

    def rows(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = ()) -> list[dict[str, Any]]:
        """The rows of a query, each as a dict by column: fit to be compared."""
        return [dict(row) for row in self.execute(sql, parameters)]

    def __repr__(self) -> str:
        return f"<database {self.name}>"


class MemoryDatabases(Mapping[str, TestDatabase]):
    """All databases of a world, by name: its services' and the saga log. They outlive every process; `close` ends them.

    `commit_s` says how long a commit of a database takes, in virtual seconds.
    """

    def __init__(self, commit_s: Callable[[str], float] | None = None) -> None:
        self._space = f"sagagen-{next(_spaces)}"
        self._kept: dict[str, TestDatabase] = {}
        self.commit_s = commit_s

    def uri(self, name: str) -> str:
        """Of SQLite: it names the same memory for all connections of this process."""
        return f"{Path('/', self._space, name).as_uri()}?vfs=memdb"

    def make(self, name: str) -> TestDatabase:
        """The database, empty if it is not there yet."""
        if name not in self._kept:
            self._kept[name] = TestDatabase(name, self.uri(name))
        return self._kept[name]

    def of(self, life: Life, name: str, watch: CommitWatch | None = None) -> "Callable[..., MemoryDatabase]":
        """An OpenDatabase for a process. Its connections are closed, and roll back, when that life ends."""
        self.make(name)
        return partial(MemoryDatabase, _Home(self, life, name, watch))

    def close(self) -> None:
        """Forget everything."""
        for database in self._kept.values():
            database.close()
        self._kept.clear()

    def __getitem__(self, name: str) -> TestDatabase:
        """Raises TestMistake for a name that is none of them."""
        if name not in self._kept:
            raise unknown("database", name, self._kept)
        return self._kept[name]

    def __contains__(self, name: object) -> bool:
        return name in self._kept

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)


@dataclass(frozen=True, slots=True)
class _Home:
    """Where a connection belongs."""

    databases: MemoryDatabases
    life: Life
    name: str
    watch: CommitWatch | None


class MemoryDatabase(Database):
    """A connection of one process to a database in memory."""

    def __init__(self, home: _Home, path: Path, *, is_read_only: bool = False) -> None:
        super().__init__(path, is_read_only=is_read_only)
        self._home = home
        self._worker: LoopThread | None = None
        self._may_wait = is_read_only and not self._reads_in_one_go

    async def begin_thread(self, is_read_only: bool) -> ConnectionThread:
        """As Database says; no thread begins."""
        connection = _connect(
            self._home.databases.uri(self._home.name),
            is_read_only=is_read_only,
            is_locking=not (is_read_only and self._reads_in_one_go),
        )
        self._worker = LoopThread(connection, self._home)
        return self._worker

    @property
    def _at_work(self) -> "LoopThread":
        if self._worker is None:
            raise self._not_open()
        return self._worker

    async def in_thread(self, work: Work[T]) -> T:
        """As Database says."""
        return await self._at_work.run(work)

    def hand_over(self, work: Work[object], done: Done) -> None:
        """As Database says."""
        self._at_work.post(work, done)

    @property
    def is_idle(self) -> bool:
        """As Database says. A connection that may find a lock is never: only what is handed to it can wait for that."""
        return self._at_work.is_idle and not self._may_wait

    @property
    def _reads_in_one_go(self) -> bool:
        """The engine reads its log so; a handler's view spans several statements."""
        return self._home.name == SAGA_LOG


@dataclass(slots=True)
class _Piece:
    work: Work[Any]
    settle: Callable[[Any, Exception | None], object]
    locked_until_s: float | None = None
    """Until when it is tried again; None: it has found no lock."""


class LoopThread:
    """Implements ConnectionThread on the event loop: one piece of work a turn."""

    def __init__(self, connection: sqlite3.Connection, home: _Home) -> None:
        self.connection = connection
        self._home = home
        self._loop = asyncio.get_running_loop()
        self._queue: deque[_Piece] = deque()
        self._is_closed = False
        # Of nobody's call: work of one is done with the log scope of none.
        self._context = Context()
        home.life.at_end.append(self._die)

    @property
    def is_idle(self) -> bool:
        """Nothing waits to be done."""
        return not self._queue

    def run(self, work: Work[T]) -> Awaitable[T]:
        """As ConnectionThread says. In a process that is dead it never ends."""
        future: asyncio.Future[T] = self._loop.create_future()
        self._bring(_Piece(work, partial(_settle, future)))
        return future

    def post(self, work: Work[object], done: Done) -> None:
        """As ConnectionThread says."""
        self._bring(_Piece(work, lambda _, error: done(error)))

    async def close(self) -> None:
        """As ConnectionThread says."""
        if not self._is_closed:
            await self.run(_nothing)
            self._home.life.at_end.remove(self._die)
            self._end()

    def _die(self) -> None:
        self._queue.clear()
        self._end()

    def _end(self) -> None:
        self._is_closed = True
        self.connection.close()  # which rolls back

    def _bring(self, piece: _Piece) -> None:
        if self._home.life.is_over:
            return
        if self._is_closed:
            raise ValueError("the database is closed")
        self._queue.append(piece)
        if len(self._queue) == 1:
            self._next()

    def _next(self) -> None:
        commit_s = self._home.databases.commit_s
        if commit_s and self._queue[0].work in _COMMITS:
            self._loop.call_later(commit_s(self._home.name), self._do, context=self._context)
        else:
            self._loop.call_soon(self._do, context=self._context)

    def _do(self) -> None:
        if not self._queue:
            return  # it died
        piece, error, result = self._queue[0], None, None
        try:
            result = self._done(piece.work)
        except Exception as raised:  # noqa: BLE001 - it is for whoever waits
            if self._is_locked(piece, raised):
                self._loop.call_later(_AGAIN_S, self._do, context=self._context)
                return
            error = raised
        if self._home.life.is_over:
            return
        self._queue.popleft()
        if self._queue:
            self._next()
        piece.settle(result, error)

    def _done(self, work: Work[T]) -> T | None:
        watch = self._home.watch
        if watch is None or work not in _COMMITS:
            return work(self.connection)
        watch.committing(self._home.name)
        if self._home.life.is_over:
            return None
        result = work(self.connection)
        watch.committed(self._home.name)
        return result

    def _is_locked(self, piece: _Piece, error: Exception) -> bool:
        """Somebody reads; it may be tried again."""
        if not isinstance(error, sqlite3.OperationalError):
            return False
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            return False
        if piece.locked_until_s is None:
            piece.locked_until_s = self._loop.time() + BUSY_TIMEOUT_S
        return self._loop.time() < piece.locked_until_s


def _settle(future: "asyncio.Future[T]", result: T, error: Exception | None) -> None:
    if future.done():  # whoever waited may have been cancelled
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def _nothing(_connection: sqlite3.Connection) -> None:
    """What is brought with it is all that is to be done."""


def _connect(uri: str, *, is_read_only: bool = False, is_locking: bool = True) -> sqlite3.Connection:
    connection = sqlite3.connect(
        uri + ("&mode=ro" if is_read_only else "") + ("" if is_locking else "&nolock=1"),
        uri=True,
        isolation_level=None,
        timeout=0,
        check_same_thread=False,
    )
    prepare_connection(connection)
    # What a transaction has written stays with its connection until the COMMIT: who reads without a lock counts on it.
    connection.execute("PRAGMA cache_spill = OFF")
    return connection
