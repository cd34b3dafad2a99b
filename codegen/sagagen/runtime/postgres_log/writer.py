"""Group commit to PostgreSQL: everything that waits goes in one statement, which is one transaction.

One connection, one statement under way: so the order of the calls is the order of the log. A statement whose connection
is lost may have been committed. Then nobody is told anything until the server has said which it was: rows that are
written twice, or a saga that was accepted and is driven by nobody, would be worse than to wait.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import asyncpg
import structlog

from sagagen.runtime.postgres.connection import (
    PAUSE_S,
    CannotConnect,
    PgConnection,
    end,
    is_lost,
    why_not,
)
from sagagen.runtime.postgres_log import schema as sql
from sagagen.runtime.postgres_log.errors import DatabaseAway, Superseded
from sagagen.runtime.postgres_log.writing import Group, Write
from sagagen.runtime.telemetry.metrics import COMMIT_SECONDS, COMMIT_WRITES, FSYNCS

MAX_GROUP = 256
"""Writes in one statement."""
MAX_WAITING = 4096
"""Writes that wait; whoever brings more waits for room."""
LINGER_S = 0.5
"""Time in seconds that rows that ride along wait for company."""
CLOSE_S = 10.0
"""Time in seconds that closing waits at most for the server."""

WITHIN_S = 10.0
"""Time in seconds that the server has for a statement; then its connection counts as lost."""
NO_LEASE = "this gateway has lost its lease, and asks for another"
ANOTHER_OWNS = "another gateway owns the saga now"
TAKEN_FOR_DEAD = "this gateway was taken for dead, and others own its sagas"

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

Connect = Callable[[], Awaitable[PgConnection]]


class Life:
    """What this process is to the log, as long as its lease runs."""

    def __init__(self) -> None:
        self.number = 0
        """0: it owns nothing now."""
        self.shards: set[int] = set()
        """Those that it owns. It loses none of them before its end."""
        self.home = 0
        """The shard of the sagas that it accepts."""
        self.writes = 0
        """Of its last write."""

    def begin(self, number: int) -> None:
        self.number, self.shards, self.home, self.writes = number, set(), 0, 0

    def end(self) -> None:
        self.begin(0)


class Writer:
    """The queue, and the task that empties it."""

    def __init__(self, connect: Connect, life: Life, lease_s: float) -> None:
        """`connect` raises CannotConnect. A write renews the lease, for `lease_s` seconds."""
        self._connect = connect
        self._life = life
        self._lease_s = lease_s
        self._connection: PgConnection | None = None
        self._queue: deque[Write] = deque()
        self._under_way = 0
        self._called = asyncio.Event()
        """There is something in the queue that somebody waits for, or it closes."""
        self._has_work = asyncio.Event()
        self._has_room = asyncio.Event()
        self._is_closing = False
        self._why = ""
        self._failed_s = float("-inf")
        self.commits = 0
        """Statements written since it was opened."""

    @property
    def is_full(self) -> bool:
        """As many writes wait as may."""
        return len(self._queue) + self._under_way >= MAX_WAITING

    @property
    def problem(self) -> str:
        """Why the last write failed; empty if it did not."""
        return self._why

    async def write(self, write: Write) -> int | None:
        """Returns once it is durable: the number of a new saga. Raises JournalUnavailable, or what is wrong with it.

        If the caller is cancelled it is written all the same, or not.
        """
        if self._why and time.monotonic() - self._failed_s < PAUSE_S:
            raise DatabaseAway(self._why)  # so nobody waits, and nobody asks the server more often
        write.done = asyncio.get_running_loop().create_future()
        await self._enqueue(write)
        self._called.set()
        return await write.done

    async def write_later(self, write: Write) -> None:
        """Have it written some time, in the order of the calls."""
        await self._enqueue(write)

    async def _enqueue(self, write: Write) -> None:
        while self.is_full and not self._is_closing:
            self._called.set()
            self._has_room.clear()
            await self._has_room.wait()
        if self._is_closing:
            raise DatabaseAway("the saga log is closing")
        if not self._life.number:
            raise Superseded(NO_LEASE)
        self._queue.append(write)
        self._has_work.set()

    async def run(self) -> None:
        """Write until closed."""
        while not self._is_closing or self._queue:
            await self._has_work.wait()
            if not self._is_closing:
                await self._company()
            self._called.clear()
            while self._queue:
                await self._write_next()
            self._has_work.clear()
            if self._is_closing:
                return

    async def _company(self) -> None:
        """Until somebody waits for what is queued; rows that only ride along wait for them a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                await self._called.wait()
        await asyncio.sleep(0)  # whoever is ready to bring rows brings them

    async def close(self, task: "asyncio.Task[None]") -> None:
        """Let `run`, which is `task`, write what is queued, for CLOSE_S at most."""
        self._is_closing = True
        for event in (self._has_room, self._has_work, self._called):
            event.set()
        try:
            await asyncio.wait({task}, timeout=CLOSE_S)
        finally:
            if not task.done():
                _logger.error("the saga log could not write its last rows: its server does not answer")
                task.cancel()
                await asyncio.wait({task})
            self.give_up_all(DatabaseAway("the saga log is closed"))
            self._drop()

    def give_up_all(self, error: Exception) -> None:
        """Nothing that waits will be written."""
        given_up = list(self._queue)
        self._queue.clear()
        _fail(given_up, error)
        self._has_room.set()

    async def _write_next(self) -> None:
        group = Group()
        while self._queue and len(group.writes) < MAX_GROUP and group.takes(self._queue[0]):
            group.add(self._queue.popleft())
        self._under_way = len(group.writes)
        try:
            await self._write(group)
        except DatabaseAway as error:
            self._put_back(group, error)
            if not self._is_closing:
                await asyncio.sleep(PAUSE_S)
        except Superseded as error:
            self._life.end()
            _fail(group.writes, error)
            self.give_up_all(error)
        finally:
            self._under_way = 0
            self._has_room.set()

    async def _write(self, group: Group) -> None:
        """Have a group written, or know that it is not. Raises DatabaseAway or Superseded: nothing of it is."""
        life, number = self._life.number, self._life.writes + 1
        if not life:
            raise Superseded(NO_LEASE)
        if stale := [write for write in group.writes if write.life != life]:
            _fail(stale, Superseded(ANOTHER_OWNS))
            group.writes = [write for write in group.writes if write.life == life]
            if not group.writes:
                return
        begun_s = time.monotonic()
        try:
            found = await self._execute(group, life, number)
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
            await self._write_one_by_one(group, error)
            return
        except CannotConnect as error:
            raise DatabaseAway(f"the saga log's database is away: {error}") from error
        except Superseded:
            raise
        except Exception as error:  # whatever it is, it may have been written
            self._drop()
            _logger.warning("a write to the saga log was cut off", error=why_not(error))
            found = await self._found_after_all(group, life, number)
            if found is None:
                raise DatabaseAway(f"the saga log can't be written: {why_not(error)}") from error
        self._settle(group, number, found, begun_s)

    async def _execute(self, group: Group, life: int, number: int) -> Mapping[str, int]:
        connection = await self._connected()
        try:
            written: Any = await connection.fetchrow(
                sql.WRITE,
                life,
                number,
                group.last_ms,
                self._lease_s,
                self._life.home,
                *group.arguments(),
                timeout=WITHIN_S,
            )
        except asyncio.CancelledError:
            self._drop()
            raise
        if not written["writers"]:
            raise Superseded(TAKEN_FOR_DEAD)
        return dict(zip(written["ids"] or (), written["numbers"] or (), strict=True))

    async def _write_one_by_one(self, group: Group, error: Exception) -> None:
        """One of the writes is at fault, and fails alone."""
        if len(group.writes) == 1:
            _fail(group.writes, error)
            if not group.is_awaited:
                _logger.error("a row of the saga log was not written", error=str(error))
            return
        for write in group.writes:
            alone = Group()
            alone.add(write)
            await self._write(alone)

    async def _found_after_all(self, group: Group, life: int, number: int) -> Mapping[str, int] | None:
        """The new sagas of a write that was cut off; None if nothing of it was written. It asks until it is told."""
        while True:
            try:
                connection = await self._connected()
                fate: Any = await connection.fetchrow(sql.FATE, life, number, timeout=WITHIN_S)
                if fate is None or fate["writes"] < number:
                    self._life.writes = number  # which is barred
                    return None
                ids, runs = [each.saga_id for each in group.new], [each.run for each in group.new]
                added = await connection.fetch(sql.ADDED_BY_RUN, ids, runs, timeout=WITHIN_S)
                return {row["saga_id"]: row["number"] for row in added}
            except Exception as error:  # noqa: BLE001 - whatever it is: nothing is guessed
                self._drop()
                self._fails(f"the saga log's database is away: {error}")
                await asyncio.sleep(PAUSE_S)

    def _settle(self, group: Group, number: int, found: Mapping[str, int], begun_s: float) -> None:
        self._why = ""
        self._life.writes = number
        self.commits += 1
        FSYNCS.inc()
        COMMIT_WRITES.observe(len(group.writes))
        COMMIT_SECONDS.observe(time.monotonic() - begun_s)
        for write in group.writes:
            if write.done and not write.done.done():
                write.done.set_result(found.get(write.new.saga_id) if write.new else None)

    def _put_back(self, group: Group, error: DatabaseAway) -> None:
        """Give up all that somebody waits for. What rides along stays, before whatever comes later."""
        self._fails(str(error))
        writes = [*group.writes, *self._queue]
        self._queue.clear()
        if self._is_closing:
            _fail(writes, error)
        else:
            self._queue.extend(write for write in writes if write.done is None)
            _fail([write for write in writes if write.done], error)

    def _fails(self, why: str) -> None:
        if why != self._why:
            _logger.error("the saga log can't be written", problem=why)
        self._why, self._failed_s = why, time.monotonic()

    async def _connected(self) -> PgConnection:
        if self._connection is None or is_lost(self._connection):
            self._connection = await self._connect()
        return self._connection

    def _drop(self) -> None:
        if self._connection:
            end(self._connection)
            self._connection = None


def _fail(writes: Sequence[Write], error: Exception) -> None:
    for write in writes:
        if write.done and not write.done.done():
            write.done.set_exception(error)
