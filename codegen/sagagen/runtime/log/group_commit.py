"""Group commit: everything that waits is written in one transaction, and one fsync is paid for it.

The order of the queue is the order of the log. A write that is waited for is on disk when its future is done; one that
rides along waits in the same queue for the next commit, so nothing that follows it can be durable before it.
"""

import asyncio
import sqlite3
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

import structlog

from sagagen.runtime.sqlite.database import Database, begin, begin_at_once
from sagagen.runtime.telemetry.metrics import COMMIT_SECONDS, COMMIT_WRITES, FSYNCS

MAX_GROUP = 256
"""Writes in one transaction: above it a commit's time grows with its size and no longer with its fsync."""
MAX_WAITING = 4096
"""Writes in the queue; whoever brings more waits for room."""
GATHER_S = 0.02
"""How long a commit waits at most for the rows of writers who are at work on some."""
LINGER_S = 0.5
"""How long rows that ride along wait for company before they get a commit of their own."""

_ROW_ERRORS = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
)
"""What SQLite says where one write is at fault and not the file."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class LogError(Exception):
    """The saga log can't do what was asked."""


class LogUnavailable(LogError):
    """Nothing can be written now (disk full, I/O error, closing): nothing was; try again after `retry_after_s`."""

    retry_after_s = 1.0
    """Seconds."""


@dataclass(slots=True, eq=False)
class LogWrite:
    """One unit of work: all of it is in the log, or none."""

    work: Callable[[sqlite3.Connection], int | None]
    done: asyncio.Future[int | None] | None = None
    """None: it rides along, and nobody waits."""
    is_long: bool = False
    """It may take milliseconds: too long for the event loop's own thread."""


class GroupWriter:
    """The queue, and what empties it: who brings a row, if nobody commits and enough have come; else a task (`run`)."""

    def __init__(self, database: Database, release_room: Callable[[], bool] = lambda: False) -> None:
        """`release_room` is called when the disk is full; true if there is room now that was not there before."""
        self._database = database
        self._release_room = release_room
        self._queue: deque[LogWrite] = deque()
        self._taken = 0
        """Writes in the queue and in the commit under way."""
        self._has_room = asyncio.Event()
        self._wake = asyncio.Event()
        self._linger: asyncio.TimerHandle | None = None
        self._waiters = 0
        """Writes in the queue that somebody waits for."""
        self._at_work: Callable[[float], int] = lambda _: 0
        self._enough: asyncio.Future[None] | None = None
        """While a commit waits for more rows."""
        self._is_committing = False
        self._failed: tuple[Sequence[LogWrite], Exception] | None = None
        """A commit that was begun by who brought its last row; the task sees to it."""
        self._is_closing = False
        self.commits = 0
        """Transactions so far: each is one fsync."""

    @property
    def is_full(self) -> bool:
        return self._taken >= MAX_WAITING

    def gather_for(self, at_work: Callable[[float], int]) -> None:
        """Let commits wait a little for company.

        `at_work` says how many writers there are that wait for the log, or will bring it something soon; those who have
        waited for something else since before a time (in seconds of the monotonic clock) are not among them.
        """
        self._at_work = at_work

    async def write(
        self, work: Callable[[sqlite3.Connection], int | None], *, is_long: bool = False
    ) -> int | None:
        """Do `work` in the next commit, and return what it returned once that is on disk.

        Raises what `work` raised if it is its own fault, or LogUnavailable. If the caller is cancelled the work is done
        all the same, or not: read the log to know.
        """
        future: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        await self._enqueue(LogWrite(work, future, is_long))
        self._waiters += 1
        if not (self._is_resting() and self._is_enough() and self._commit_at_once()):
            self._wake.set()
            if self._enough and self._is_enough():
                self._end_gathering()
        return await future

    async def write_later(self, work: Callable[[sqlite3.Connection], int | None]) -> None:
        """Do `work` in some later commit, in the order of calls. It is lost if the process dies before."""
        await self._enqueue(LogWrite(work))
        if not self._wake.is_set():
            self._wake_in(LINGER_S)

    async def _enqueue(self, write: LogWrite) -> None:
        while self.is_full and not self._is_closing:
            self._wake.set()  # what fills the queue may all be riding along
            self._has_room.clear()
            await self._has_room.wait()
        if self._is_closing:
            raise LogUnavailable("the saga log is closing")
        self._taken += 1
        self._queue.append(write)

    def _leave_queue(self, writes: int) -> None:
        self._taken -= writes
        self._has_room.set()

    def _wake_in(self, seconds: float) -> None:
        if self._linger is None:
            self._linger = asyncio.get_running_loop().call_later(seconds, self._wake.set)

    def close(self) -> None:
        """Let `run` write what is queued, and end. Nothing more is taken."""
        self._is_closing = True
        self._wake.set()
        self._has_room.set()
        self._end_gathering()

    async def run(self) -> None:
        """Commit group after group until closed."""
        while not self._is_over():
            await self._wake.wait()
            self._wake.clear()
            if self._is_committing:
                continue  # what came meanwhile is looked at afterwards
            if self._linger:
                self._linger.cancel()
                self._linger = None
            if self._failed:
                (group, error), self._failed = self._failed, None
                await self._commit_group(group, error)
                continue
            await self._gather()
            if self._queue:
                await self._commit_group(self._take(self._next_group()))

    def _is_over(self) -> bool:
        return self._is_closing and not (self._queue or self._is_committing or self._failed)

    def _is_resting(self) -> bool:
        """Nothing is under way, and the task waits for something to do."""
        return not (
            self._is_committing or self._failed or self._enough or self._wake.is_set() or self._is_closing
        )

    def _next_group(self) -> list[LogWrite]:
        return list(islice(self._queue, MAX_GROUP))

    def _take(self, group: list[LogWrite]) -> list[LogWrite]:
        for write in group:
            self._queue.popleft()
            if write.done:
                self._waiters -= 1
        return group

    def _look_again(self) -> None:
        """See to what came during a commit."""
        if self._waiters or self._is_closing or self.is_full:
            self._wake.set()
        elif self._queue:
            self._wake_in(LINGER_S)

    async def _gather(self) -> None:
        """Wait until half of those who are at work have brought their rows, but not for long.

        Under load nearly every row would get an fsync of its own otherwise, since one writer is always ready first. A
        saga that is alone never waits here.
        """
        if self._is_enough() or self._is_closing:
            return
        loop = asyncio.get_running_loop()
        self._enough = loop.create_future()
        timer = loop.call_later(GATHER_S, self._end_gathering)
        try:
            await self._enough
        finally:
            timer.cancel()
            self._enough = None

    def _is_enough(self) -> bool:
        return not self._waiters or self._waiters * 2 >= min(
            self._at_work(time.monotonic() - GATHER_S), MAX_GROUP
        )

    def _end_gathering(self) -> None:
        if self._enough and not self._enough.done():
            self._enough.set_result(None)

    def _commit_at_once(self) -> bool:
        """Commit what is queued without the task, which would take two more turns of the event loop.

        False where that can't be done in place: then nothing was, and the task meets the same again.
        """
        begun_s = time.monotonic()
        group = self._next_group()
        database = self._database
        if any(write.is_long for write in group):
            return False
        try:
            if not database.in_place(begin_at_once):
                return False
            results = database.in_place(lambda connection: _write_all(connection, group))
        except Exception:  # noqa: BLE001 - as above
            with suppress(sqlite3.Error):
                database.in_place(_roll_back)
            return False
        self._take(group)
        self._is_committing = True

        def done(error: Exception | None) -> None:
            self._is_committing = False
            if error:
                self._failed = group, error
                self._wake.set()
            else:
                self._committed(group, results, begun_s)

        database.hand_over(_commit, done)
        return True

    async def _commit_group(self, group: Sequence[LogWrite], failed: Exception | None = None) -> None:
        """`failed`: why it could not be committed when it was tried at once."""
        begun_s = time.monotonic()
        self._is_committing = True
        try:
            results = await self._commit_making_room(group, failed)
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            self._fail([*group, *self._queue], error)
        else:
            self._committed(group, results, begun_s)
        finally:
            self._is_committing = False

    def _committed(
        self, group: Sequence[LogWrite], results: Sequence[int | Exception | None], begun_s: float
    ) -> None:
        self.commits += 1
        FSYNCS.inc()
        COMMIT_WRITES.observe(len(group))
        COMMIT_SECONDS.observe(time.monotonic() - begun_s)
        self._leave_queue(len(group))
        for write, result in zip(group, results, strict=True):
            _settle(write, result)
        self._look_again()

    async def _commit_making_room(
        self, group: Sequence[LogWrite], failed: Exception | None
    ) -> list[int | Exception | None]:
        if failed is None:
            try:
                return await self._transact(group)
            except sqlite3.OperationalError as error:
                failed = error
        else:
            await self._database.in_thread(_roll_back)
        if not (_is_out_of_room(failed) and self._release_room()):
            raise failed
        return await self._transact(group)

    async def _transact(self, group: Sequence[LogWrite]) -> list[int | Exception | None]:
        """Rows are written in place, since that takes less than to hand them over; the thread waits for the disk."""
        database = self._database
        try:
            if not database.in_place(begin_at_once):
                await database.in_thread(begin)
            if any(write.is_long for write in group):
                results = await database.in_thread(lambda connection: _write_all(connection, group))
            else:
                results = database.in_place(lambda connection: _write_all(connection, group))
            await database.in_thread(_commit)
        except BaseException:
            await database.in_thread(_roll_back)
            raise
        return results

    def _fail(self, waiting: Sequence[LogWrite], error: Exception) -> None:
        """Nothing of the group is in the log. Who waits is told; the rest keeps its place before what comes later."""
        _logger.error("the saga log can't be written", error=str(error), writes=len(waiting))
        self._queue.clear()
        self._waiters = 0
        for write in waiting:
            if write.done is None and not self._is_closing:
                self._queue.append(write)
                continue
            self._leave_queue(1)
            if write.done and not write.done.done():
                write.done.set_exception(LogUnavailable(f"the saga log can't be written: {error}"))
        if self._queue:
            self._wake_in(LogUnavailable.retry_after_s)


def _is_out_of_room(error: Exception) -> bool:
    if not isinstance(error, sqlite3.OperationalError):
        return False
    # Where the WAL's index can't grow, SQLite calls a full disk an I/O error; its extended codes keep the kind below.
    return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def _settle(write: LogWrite, result: int | Exception | None) -> None:
    if write.done is None:
        if isinstance(result, Exception):
            _logger.error("a row of the saga log was not written", error=str(result))
    elif not write.done.done():  # whoever waited may have been cancelled
        if isinstance(result, Exception):
            write.done.set_exception(result)
        else:
            write.done.set_result(result)


def _write_all(connection: sqlite3.Connection, group: Sequence[LogWrite]) -> list[int | Exception | None]:
    try:
        return [write.work(connection) for write in group]
    except Exception as error:
        if _is_of_file(error):
            raise
        # One of them is at fault: find out which, and write the others.
        connection.execute("ROLLBACK")
        begin(connection)
        return [_write_one(connection, write) for write in group]


def _commit(connection: sqlite3.Connection) -> None:
    connection.execute("COMMIT")


def _roll_back(connection: sqlite3.Connection) -> None:
    # SQLite itself has ended the transaction where the disk is full or fails.
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _is_of_file(error: Exception) -> bool:
    """The file is at fault and not one write: that voids the group."""
    return isinstance(error, sqlite3.Error) and not isinstance(error, _ROW_ERRORS)


def _write_one(connection: sqlite3.Connection, write: LogWrite) -> int | Exception | None:
    connection.execute("SAVEPOINT one")
    try:
        result = write.work(connection)
    except Exception as error:
        if _is_of_file(error):
            raise
        connection.execute("ROLLBACK TO one")
        connection.execute("RELEASE one")
        return error
    connection.execute("RELEASE one")
    return result
