"""The writer of a service's database: calls take turns in it, and are committed in groups.

Theory of operation. One connection writes, and one task owns it. Calls take turns (`transaction_turns`), each in the
task of its rpc, where its handler runs too:

    BEGIN IMMEDIATE                                    (in place; in the connection's thread if it has to wait)
      for each call: barrier, SAVEPOINT
                     the handler                       (at most HOLD_LIMIT_S)
                     undo or barrier row, RELEASE
    COMMIT                                             (by the owner, in the thread: it waits for the disk)

All but the COMMIT is done in place: a barrier's row takes 20 us, a hop to the thread and back three times as much
(`statement_pace` says which of the handlers' own statements are quick enough for that).

Two rules. A cancelled rpc leaves the line, or ends its own handler; what the owner awaits it never touches, and what is
done in place it can't interrupt. And no outcome is told before COMMIT has returned, not even a replay, since the row it
was read from may be the group's own.

SQLite rolls the whole transaction back on some errors (a full disk, INSERT OR ROLLBACK). Then the group is void: all of
its calls get UNAVAILABLE, which is in doubt and so repeated, and the connection is opened anew.
"""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import structlog
from grpclib.const import Status as Code

from sagagen.runtime.clock import Clock
from sagagen.runtime.model.definition import BARRIER_RETENTION_S
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.service.sqlite_store.guard import Guard
from sagagen.runtime.service.sqlite_store.members import Group, Member, Turn, unavailable
from sagagen.runtime.service.sqlite_store.observation import WriterObservation
from sagagen.runtime.service.sqlite_store.pace import StatementPace
from sagagen.runtime.service.sqlite_store.purge import PURGE_EVERY_S, purge
from sagagen.runtime.service.sqlite_store.queue import GROUP_CALLS, WriterQueue
from sagagen.runtime.service.sqlite_store.steps import (
    BarredCall,
    CallResult,
    Handled,
    begin,
    begin_at_once,
    commit,
    never_wait,
)
from sagagen.runtime.service.sqlite_store.table import Record, read_meta
from sagagen.runtime.sqlite.database import Database

HOLD_LIMIT_S = 1.0
"""Seconds that one handler may hold the writer."""
_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


LOST_LATELY_S = 5.0
"""For so many seconds after a commit that failed, the service does not say that it is well."""
_LOST = "the service could not commit"
_STOPPED = "the service has stopped"


Committed = Callable[[Record], None]


class Writer:
    """Writes of one service, one after the other."""

    def __init__(
        self, path: Path, clock: Clock, *, retention_s: float, hold_limit_s: float, committed: Committed
    ) -> None:
        self._path = path
        self._clock = clock
        self._hold_limit_s = hold_limit_s
        self._committed = committed
        self._observation = WriterObservation(path.stem)
        self._database: Database | None = None
        self._guard = Guard(is_read_only=False)
        self._pace = StatementPace()
        self._turns = WriterQueue(
            clock, self._pace, self._observation, hold_limit_s=hold_limit_s, begin_now=self._begin_now
        )
        self._is_parked = False
        """The owner does nothing but wait for something to do."""
        self._is_stopping = False
        self._lost_s = float("-inf")
        """When a commit failed last, on the monotonic clock."""
        self._singly = 0
        """Calls that still get a group of their own, so that one that spoils groups spoils no others' again."""
        self._purged_through_ms = 0
        self._retention_ms = round(retention_s * 1000)
        self._purge_at_s = 0.0
        """On the loop's clock."""
        self._purge_timer: asyncio.TimerHandle | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: Path,
        clock: Clock,
        *,
        retention_s: float = BARRIER_RETENTION_S,
        hold_limit_s: float = HOLD_LIMIT_S,
        committed: Committed = lambda _: None,
    ) -> AsyncGenerator["Writer"]:
        """Run the owner task. The barrier's tables must exist. Leaving ends what waits, and the connection.

        `committed` is told of each row of the barrier, before anybody learns the outcome.
        """
        writer = cls(path, clock, retention_s=retention_s, hold_limit_s=hold_limit_s, committed=committed)
        await writer._open()
        async with asyncio.TaskGroup() as group:
            owner = group.create_task(writer._own(), name=f"writer of {path.name}")
            try:
                yield writer
            finally:
                writer._is_stopping = True
                writer._turns.changed.set()
                await asyncio.wait({owner})

    @property
    def purged_through_ms(self) -> int:
        """The latest `started` of the sagas that the barrier has forgotten."""
        return self._purged_through_ms

    async def write(self, write: BarredCall, run: Callable[[Turn], Awaitable[Handled]]) -> CallResult:
        """Pass the barrier, run the handler in its turn if it is to run, and wait until that is committed.

        Cancelling ends the handler, and its effects with it; but not what is decided already.
        """
        member = Member(write, asyncio.timeout(None))
        try:
            try:
                turn = await self.take(member)
            except RpcError as error:
                return CallResult(error=error)
            if turn:
                self.finish(member, await self._run_handler(member, run, turn))
            return await member.outcome
        finally:
            self.withdraw(member)

    async def check(self) -> str:
        """Take a turn that does nothing: the owner, its connection and the lock must all be there for it."""
        if self._clock.monotonic_s() - self._lost_s < LOST_LATELY_S:
            return _LOST
        outcome = await self.write(_PROBE, _do_nothing)
        is_busy = outcome.error is not None and outcome.error.code is Code.RESOURCE_EXHAUSTED
        return "" if outcome.error is None or is_busy else outcome.error.message

    async def take(self, member: Member) -> Turn | None:
        """Wait for a call's turn; `withdraw` must follow in any case. Raises RpcError if no more may wait.

        None if no handler is to run: what there is to tell comes with the outcome.
        """
        if self._is_stopping:
            raise RpcError(Code.UNAVAILABLE, _STOPPED)
        return await self._turns.take(member)

    def finish(self, member: Member, handled: Handled) -> None:
        """The handler has ended, and the turn with it; the outcome comes after the commit."""
        self._turns.finish(member, handled)

    def withdraw(self, member: Member) -> None:
        """Nobody asks for this call any more: what is not decided by now is undone."""
        self._turns.withdraw(member)

    async def _run_handler(
        self, member: Member, run: Callable[[Turn], Awaitable[Handled]], turn: Turn
    ) -> Handled:
        try:
            async with member.limit:
                return await run(turn)
        except TimeoutError:
            return self.held_too_long(member.write)
        finally:
            turn.db.close()

    def held_too_long(self, write: BarredCall) -> Handled:
        _logger.warning(
            "a handler held the writer for too long and was rolled back: slow work belongs in a manual method",
            rpc=write.name,
            limit_s=self._hold_limit_s,
        )
        slow = RpcError(Code.UNAVAILABLE, f"the handler took longer than {self._hold_limit_s:g} s")
        return Handled(CallResult(error=slow))

    async def _own(self) -> None:
        try:
            while self._turns.group or self._turns.has_waiting or not self._is_stopping:
                if group := self._turns.group:
                    await self._end(group)
                    continue
                has_more_to_purge = await self._purge_if_due()
                if self._turns.has_waiting:
                    await self._begin()
                elif not has_more_to_purge and not self._is_stopping:
                    await self._park()
        finally:
            if self._purge_timer:
                self._purge_timer.cancel()
            self._turns.stop(unavailable(_STOPPED))
            await self._close()

    async def _park(self) -> None:
        self._is_parked = True
        self._turns.changed.clear()
        await self._turns.changed.wait()
        self._is_parked = False

    async def _purge_if_due(self) -> bool:
        """Forget a batch of what is old. True: there is more, to be forgotten after those that wait now."""
        loop = asyncio.get_running_loop()
        if self._is_stopping or loop.time() < self._purge_at_s:
            return False
        hop = partial(purge, retention_ms=self._retention_ms, now_ms=self._clock.wall_ms())
        try:
            database = self._database or await self._open()
            purged = await database.in_thread(hop)
        except sqlite3.Error as error:
            _logger.error("the barrier could not be purged", path=str(self._path), exc_info=error)
            await self._close()
            purged = None
        if purged:
            self._purged_through_ms = max(self._purged_through_ms, purged.through_ms)
        if purged and purged.has_more:
            return True
        self._purge_at_s = loop.time() + PURGE_EVERY_S
        self._purge_timer = loop.call_at(self._purge_at_s, self._turns.changed.set)
        return False

    def _begin_now(self) -> Group | None:
        database = self._database
        if database is None or not self._is_parked or not database.is_idle:
            return None
        try:
            return self._group(database) if database.in_place(begin_at_once) else None
        except sqlite3.Error:
            return None  # the owner meets it again, and sees to it

    async def _begin(self) -> None:
        try:
            database = self._database or await self._open()
            if not database.in_place(begin_at_once):
                await database.in_thread(begin)
        except Exception as error:  # noqa: BLE001 - whatever it was, the owner goes on
            # Tell whoever waits longest, else the owner would try for ever.
            first = self._turns.take_first()
            await self._void([first] if first else [], error)
        else:
            self._turns.open(self._group(database))

    def _group(self, database: Database) -> Group:
        limit = 1 if self._singly else GROUP_CALLS
        self._singly = max(0, self._singly - 1)
        return Group(database, self._guard, self._purged_through_ms, self._clock.monotonic_s(), limit)

    async def _end(self, group: Group) -> None:
        try:
            await self._turns.end(group)
            if group.error:
                raise group.error
            await group.database.in_thread(commit)
        except Exception as error:  # noqa: BLE001 - whatever broke the group, the owner goes on with the next
            await self._void(group.members, error)
            return
        except BaseException:
            _tell_lost(group.members)
            raise
        self._observation.committed(group, self._clock.monotonic_s() - group.begun_s)
        for member in group.members:
            if member.record:
                self._committed(member.record)
            member.tell(member.settled or unavailable(_LOST))

    async def _void(self, members: Sequence[Member], error: Exception) -> None:
        _logger.error(
            "a group of writes was lost; its calls will be repeated",
            calls=[member.write.name for member in members],
            exc_info=error,
        )
        self._singly = GROUP_CALLS
        self._lost_s = self._clock.monotonic_s()
        await self._close()
        _tell_lost(members)

    async def _open(self) -> Database:
        database = self._database = await Database(self._path).__aenter__()
        self._guard = Guard(is_read_only=False)
        await database.in_thread(never_wait)
        await database.in_thread(self._guard.install)
        await database.in_thread(self._pace.watch)
        self._purged_through_ms = await database.in_thread(
            lambda connection: read_meta(connection, "purged_through_ms")
        )
        return database

    async def _close(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            try:
                await database.close()
            except sqlite3.Error as error:
                _logger.error("a connection could not be closed", path=str(self._path), exc_info=error)


_PROBE = BarredCall(None, b"", None, "/health check")


async def _do_nothing(_turn: Turn) -> Handled:
    return Handled(CallResult())


def _tell_lost(members: Sequence[Member]) -> None:
    for member in members:
        member.tell(unavailable(_LOST))
