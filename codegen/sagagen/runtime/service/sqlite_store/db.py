"""A connection that runs handlers' statements, and `call.db` on top of it."""

import re
import sqlite3
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

from sagagen.runtime.service.call import Db, IntegrityError, Parameters, Row, TransactionEnded
from sagagen.runtime.service.sqlite_store.guard import Guard, own
from sagagen.runtime.service.sqlite_store.timing import StatementTiming
from sagagen.runtime.sqlite.database import Database, OpenDatabase

T = TypeVar("T")

_ATTEMPT = own("SAVEPOINT sagagen_attempt")
_UNDO = own("ROLLBACK TO sagagen_attempt")
_RELEASE = own("RELEASE sagagen_attempt")
_NUMBERED = re.compile(r"""('(?:[^']|'')*'|"(?:[^"]|"")*"|--[^\n]*|/\*.*?\*/)|\$([0-9]+)""", re.DOTALL)


class Session:
    """One connection, with what its handlers may do on it, and where their statements run."""

    def __init__(self, database: Database, timing: StatementTiming, *, is_read_only: bool) -> None:
        self.database = database
        self.connection: sqlite3.Connection = database.in_place(_itself)
        """For work of some microseconds in the event loop's thread, and only while the database `is_idle`."""
        self.guard = Guard(is_read_only=is_read_only)
        self.timing = timing

    @classmethod
    async def open(
        cls,
        path: Path,
        timing: StatementTiming,
        *,
        is_read_only: bool = False,
        database_at: OpenDatabase = Database,
    ) -> "Session":
        """`timing` may watch one connection at a time. Close the session's database in the end."""
        database = await database_at(path, is_read_only=is_read_only).__aenter__()
        session = cls(database, timing, is_read_only=is_read_only)
        try:
            await database.in_thread(session.guard.install)
            await database.in_thread(timing.watch)
        except BaseException:
            await database.close()
            raise
        return session

    async def run_in_thread(self, sql: str, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a handler's statement after all that the thread was given before."""
        return await self.database.in_thread(partial(self._timed, sql=sql, work=work))

    def _timed(
        self, connection: sqlite3.Connection, *, sql: str, work: Callable[[sqlite3.Connection], T]
    ) -> T:
        begun_s = self.timing.now_s()
        result = self.guard.run(connection, work)
        self.timing.remember_in_thread(sql, self.timing.now_s() - begun_s)
        return result


class SqliteDb(Db):
    """The transaction that is open on a session's connection, until `close`."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._is_closed = False

    async def execute(self, sql: str, parameters: Parameters = ()) -> int:
        return await self._run(sql, partial(_count_rows, sqlite3.Connection.execute, sql, parameters))

    async def executemany(self, sql: str, parameters: Iterable[Parameters]) -> int:
        return await self._run(sql, partial(_count_rows, sqlite3.Connection.executemany, sql, parameters))

    async def fetch(self, sql: str, parameters: Parameters = ()) -> Sequence[Row]:
        return await self._run(sql, partial(_fetch, sql, parameters))

    @asynccontextmanager
    async def attempt(self) -> AsyncGenerator[None]:
        await self._own(_ATTEMPT)
        try:
            yield
        except Exception:  # a handler that is cancelled is undone as a whole
            await self._own(_UNDO)
            await self._own(_RELEASE)
            raise
        await self._own(_RELEASE)

    def close(self) -> None:
        """From now on every use raises TransactionEnded."""
        self._is_closed = True

    async def _run(self, sql: str, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._is_closed:
            raise _ended()
        session = self._session
        try:
            # In place only behind an idle thread: otherwise this statement would overtake those that it still has.
            if sql in session.timing.quick and session.database.is_idle:
                return session.timing.run_in_place(sql, session.guard.run, session.connection, work)
            return await session.run_in_thread(sql, work)
        except sqlite3.IntegrityError as error:
            raise _as_ours(error) from error

    async def _own(self, sql: str) -> None:
        if self._is_closed:
            raise _ended()
        await self._session.database.in_thread(partial(_execute, sql))


def _ended() -> TransactionEnded:
    return TransactionEnded("the transaction of this call has ended: a handler awaits all that it starts")


def _as_ours(error: sqlite3.IntegrityError) -> IntegrityError:
    ours = IntegrityError(*error.args)
    for name in ("sqlite_errorcode", "sqlite_errorname"):
        if hasattr(error, name):
            setattr(ours, name, getattr(error, name))
    return ours


def _execute(sql: str, connection: sqlite3.Connection) -> None:
    connection.execute(sql)


@lru_cache(maxsize=1024)
def _numbered(sql: str) -> str:
    """`$1` as SQLite has it: `?1`."""
    return _NUMBERED.sub(lambda found: found[1] or f"?{found[2]}", sql)


def _count_rows(
    run: Callable[..., sqlite3.Cursor], sql: str, parameters: object, connection: sqlite3.Connection
) -> int:
    """`run` is execute or executemany."""
    cursor = run(connection, _numbered(sql) if "$" in sql else sql, parameters)
    # A statement with RETURNING is not finished before its rows are read, and an unfinished one would block the commit.
    for _ in cursor:
        pass
    changed = max(cursor.rowcount, 0)
    cursor.close()
    return changed


def _fetch(sql: str, parameters: Parameters, connection: sqlite3.Connection) -> list[sqlite3.Row]:
    return connection.execute(_numbered(sql) if "$" in sql else sql, parameters).fetchall()


def _itself(connection: sqlite3.Connection) -> sqlite3.Connection:
    return connection
