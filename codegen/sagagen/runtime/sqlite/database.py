"""A SQLite file behind one thread: the saga log and every service's state.

aiosqlite makes one hop to its thread for each statement. Ours makes one for a whole unit of work, `in_thread`
(`thread.py` says how).
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from sagagen.runtime.plain import is_plain
from sagagen.runtime.sqlite.thread import ConnectionThread, DocumentedThread, T, Work
from sagagen.runtime.startup import StartupError

BUSY_TIMEOUT_S = 5.0
"""How long SQLite waits for a lock that another program, for example the sqlite3 shell, holds on the file."""
_BUSY_PAUSE_S = 0.005
CLOSE_S = 5.0
"""How long leaving a database waits at most, in seconds; a commit that takes so long hangs with its disk."""

BEGIN = "BEGIN IMMEDIATE"

blob = bytearray
"""Makes a parameter of bytes. For bytes as they are, Python's sqlite3 looks for an adapter each time, 1.3 us."""


class DatabaseError(StartupError):
    """A database can't be used as it is; the message says which, why, and what to do."""


class DatabaseTooNew(DatabaseError):
    """The file was written by a later version, whose changes this one does not know."""

    def __init__(self, path: Path, found: int, known: int) -> None:
        super().__init__(
            f"{path} is at schema version {found}, this program knows up to {known}: "
            f"start the newer version again, or move the file away to begin with an empty one"
        )
        self.path = path


class DatabaseDamaged(DatabaseError):
    """The file is no SQLite database, or no whole one. It is left as it is."""

    def __init__(self, path: Path, error: BaseException) -> None:
        super().__init__(
            f"{path} can't be read as a database ({error}); it is left as it is: put a backup in its place, "
            f"or move it away to begin with an empty one"
        )
        self.path = path


class DatabaseStuck(DatabaseError):
    """The thread of a database did not end: a disk, or a lock in it, does not answer."""

    def __init__(self, path: Path, waited_s: float) -> None:
        super().__init__(f"{path} could not be closed within {waited_s:g} s: its disk does not answer")
        self.path = path


_DAMAGED = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})


class Database:
    """One connection, used by `async with`; transactions are begun and ended by explicit statements only.

    Cancelling an awaiting task never stops work that has reached the thread: it runs to its end, and only its result is
    lost. Whoever owns a transaction therefore must not be cancelled between its beginning and its end.
    """

    def __init__(self, path: Path, *, is_read_only: bool = False, close_s: float = CLOSE_S) -> None:
        """`close_s`: seconds that leaving waits at most for what is still in the thread."""
        self.path = path
        self._is_read_only = is_read_only
        self._close_s = close_s
        self._opened: ConnectionThread | None = None
        # Each is counted by one thread only.
        self._handed_over = 0
        self._finished = 0

    async def __aenter__(self) -> Self:
        self._opened = await self.begin_thread(self._is_read_only)
        return self

    async def begin_thread(self, is_read_only: bool) -> ConnectionThread:
        """Open the connection, and what runs work on it. Raises DatabaseDamaged, and what sqlite3 raises."""
        connect = partial(_connect, self.path, is_read_only)
        if is_plain("aiosqlite"):
            return await DocumentedThread.open(connect)
        from sagagen.runtime.sqlite.queued import QueuedThread

        return await QueuedThread.open(connect)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the thread when all is done that was brought to it. A repeat does nothing.

        Raises DatabaseStuck if that takes longer than `close_s`. Then the thread may still write when it goes on, so
        the lock of this file is kept until the process ends (`OwnerLock.release`).
        """
        thread, self._opened = self._opened, None
        if thread is None:
            return
        closing = asyncio.create_task(thread.close(), name=f"close {self.path.name}")
        try:
            await asyncio.wait({closing}, timeout=self._close_s)
        except asyncio.CancelledError:  # what is in the thread ends all the same, and the lock waits for it
            await asyncio.wait({closing}, timeout=self._close_s)
            raise
        if not closing.done():
            closing.cancel()
            _stuck.add(self.path)
            raise DatabaseStuck(self.path, self._close_s)
        closing.result()

    @property
    def _thread(self) -> ConnectionThread:
        if self._opened is None:
            raise self._not_open()
        return self._opened

    def _not_open(self) -> ValueError:
        return ValueError(f"{self.path} is not open")

    async def in_thread(self, work: Work[T]) -> T:
        """Run `work` with the connection in its thread, in the order of calls, and return or raise what it does.

        Raises ValueError if the database is not open.
        """
        if self._opened is None:
            raise self._not_open()
        self._handed_over += 1
        return await self._opened.run(partial(self._finish, work))

    def hand_over(self, work: Work[object], done: Callable[[Exception | None], object]) -> None:
        """Run `work` as `in_thread` does; then `done` is called in the event loop, with what `work` raised.

        For code that can't wait, and may not be cancelled.
        """
        thread = self._thread
        self._handed_over += 1
        thread.post(partial(self._finish, work), done)

    def _finish(self, work: Work[T], connection: sqlite3.Connection) -> T:
        try:
            return work(connection)
        finally:
            self._finished += 1

    @property
    def is_idle(self) -> bool:
        """Nothing is left in the thread, not even what nobody waits for any more."""
        return self._handed_over == self._finished

    def in_place(self, work: Work[T]) -> T:
        """Run `work` now, in the calling thread: only what takes some microseconds, and only while `is_idle`."""
        return work(self._thread.connection)

    def interrupt_statement(self) -> None:
        """End the statement that runs in the thread now; it raises sqlite3.OperationalError there.

        SQLite then rolls back a statement that writes together with its whole transaction.
        """
        self._thread.connection.interrupt()

    async def run_script(self, sql: str) -> None:
        """Run several statements in one transaction; none has an effect if one fails."""
        await self.in_thread(lambda connection: _run_script(connection, sql))

    async def migrate(self, scripts: Mapping[int, str]) -> None:
        """Apply the scripts numbered above the file's `PRAGMA user_version`, each in a transaction with its number.

        Raises DatabaseTooNew if the file is beyond the last of them.
        """
        found = await self.in_thread(user_version)
        known = max(scripts, default=0)
        if found > known:
            raise DatabaseTooNew(self.path, found, known)
        for number in sorted(number for number in scripts if number > found):
            await self.run_script(f"{scripts[number]}\n;PRAGMA user_version = {number}")


class OpenDatabase(Protocol):
    """Where databases lie: makes the one at a path, which is opened by `async with`."""

    def __call__(self, path: Path, *, is_read_only: bool = False) -> Database: ...


_stuck: set[Path] = set()


def is_stuck(path: Path) -> bool:
    """A thread of this process could not be ended, and may still write to the file."""
    return path in _stuck


def never_wait(connection: sqlite3.Connection, *, pragma: str = "PRAGMA busy_timeout = 0") -> None:
    """From now on a lock that another program holds is an error at once; `begin` does the waiting."""
    connection.execute(pragma)


def begin_at_once(connection: sqlite3.Connection, *, sql: str = BEGIN) -> bool:
    """Begin to write; false if another program writes to the file right now. Fit for `in_place` after `never_wait`."""
    try:
        connection.execute(sql)
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True


def begin(connection: sqlite3.Connection, *, sql: str = BEGIN) -> None:
    """Begin to write as soon as nobody else does.

    Raises sqlite3.OperationalError (SQLITE_BUSY) if that takes longer than BUSY_TIMEOUT_S.
    """
    give_up_at_s = time.monotonic() + BUSY_TIMEOUT_S
    while not begin_at_once(connection, sql=sql):
        if time.monotonic() > give_up_at_s:
            connection.execute(sql)
            return
        time.sleep(_BUSY_PAUSE_S)


def user_version(connection: sqlite3.Connection) -> int:
    """The number of the last migration that was applied; 0 in a new file."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _connect(
    path: Path, is_read_only: bool, connection_class: type[sqlite3.Connection]
) -> sqlite3.Connection:
    uri = path.absolute().as_uri() + ("?mode=ro" if is_read_only else "?mode=rwc")
    connection = sqlite3.connect(
        uri,
        uri=True,
        isolation_level=None,
        timeout=BUSY_TIMEOUT_S,
        check_same_thread=False,
        factory=connection_class,
    )
    try:
        prepare_connection(connection)
        if not is_read_only:
            connection.execute("PRAGMA journal_mode = WAL")
            # NORMAL would lose the last commits when the machine (not the process) dies.
            connection.execute("PRAGMA synchronous = FULL")
    except BaseException as error:
        connection.close()
        if getattr(error, "sqlite_errorcode", None) in _DAMAGED:
            raise DatabaseDamaged(path, error) from error
        raise
    return connection


def prepare_connection(connection: sqlite3.Connection) -> None:
    """What every connection of ours has, wherever its database lies."""
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA foreign_keys = ON")


def _run_script(connection: sqlite3.Connection, sql: str) -> None:
    try:
        connection.executescript(f"BEGIN IMMEDIATE;\n{sql}\n;COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
