"""A SQLite file behind one thread: the saga log and every service's state.

aiosqlite makes one hop to its thread for each statement. Ours makes one for a whole unit of work, `in_thread`, since a
hop costs more than the statements it carries (43 us for a barrier row in one hop, 109 us through cursors).
"""

import asyncio
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self, TypeVar

import aiosqlite

from sagagen.runtime.startup import StartupError

T = TypeVar("T")

BUSY_TIMEOUT_S = 5.0
"""How long SQLite waits for a lock that another program, for example the sqlite3 shell, holds on the file."""
_BUSY_PAUSE_S = 0.005

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


_DAMAGED = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT})


class Database(aiosqlite.Connection):
    """One connection, used by `async with`; transactions are begun and ended by explicit statements only.

    Cancelling an awaiting task never stops work that has reached the thread: it runs to its end, and only its result is
    lost. Whoever owns a transaction therefore must not be cancelled between its beginning and its end.
    """

    def __init__(self, path: Path, *, is_read_only: bool = False) -> None:
        super().__init__(lambda: _connect(path, is_read_only), iter_chunk_size=64)
        self.path = path
        # Each is counted by one thread only.
        self._handed_over = 0
        self._finished = 0

    async def __aenter__(self) -> Self:
        await self
        return self

    async def in_thread(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` with the connection in its thread, in the order of calls, and return or raise what it does."""
        self._handed_over += 1
        return await self._execute(self._finish, work, self._conn)  # pyright: ignore[reportUnknownMemberType] - untyped there

    def hand_over(
        self, work: Callable[[sqlite3.Connection], object], done: Callable[[Exception | None], object]
    ) -> None:
        """Run `work` as `in_thread` does; then `done` is called in the event loop, with what `work` raised.

        For who can't wait, and may not be cancelled.
        """
        self._handed_over += 1
        loop, connection = asyncio.get_running_loop(), self._conn

        def work_and_tell() -> None:
            error: Exception | None = None
            try:
                self._finish(work, connection)
            except Exception as raised:  # noqa: BLE001 - it is for the event loop
                error = raised
            loop.call_soon_threadsafe(done, error)

        self._tx.put_nowait((None, work_and_tell))  # pyright: ignore[reportUnknownMemberType] - untyped there

    def _finish(self, work: Callable[[sqlite3.Connection], T], connection: sqlite3.Connection) -> T:
        try:
            return work(connection)
        finally:
            self._finished += 1

    @property
    def is_idle(self) -> bool:
        """Nothing is left in the thread, not even what nobody waits for any more."""
        return self._handed_over == self._finished

    def in_place(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` now, in the calling thread: only what takes some microseconds, and only while `is_idle`."""
        return work(self._conn)

    def interrupt_statement(self) -> None:
        """End the statement that runs in the thread now; it raises sqlite3.OperationalError there.

        SQLite then rolls back a statement that writes together with its whole transaction.
        """
        self._conn.interrupt()

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


def _connect(path: Path, is_read_only: bool) -> sqlite3.Connection:
    uri = path.absolute().as_uri() + ("?mode=ro" if is_read_only else "?mode=rwc")
    connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S, check_same_thread=False
    )
    try:
        connection.row_factory = sqlite3.Row
        connection.execute("PRAGMA foreign_keys = ON")
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


def _run_script(connection: sqlite3.Connection, sql: str) -> None:
    try:
        connection.executescript(f"BEGIN IMMEDIATE;\n{sql}\n;COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
