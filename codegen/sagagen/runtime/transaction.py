"""The one task that writes a service's database: it gives calls their turn and commits them in groups.

Theory of operation. A call waits for its turn in `Writer.write`, in the task of its rpc; there its handler runs too.
The owner task alone begins, saves, releases, rolls back and commits:

    BEGIN IMMEDIATE
      for each call: barrier, SAVEPOINT
                     the handler                       (in the rpc's task, at most HOLD_LIMIT_S)
                     undo or barrier row, RELEASE
    COMMIT                                             (in the connection's thread: it waits for the disk)

All but the COMMIT is done in place: a barrier's row takes 20 us, a hop to the thread and back three times as much
(`statement_pace` says which of the handlers' own statements are quick enough for that).

Two rules. A cancelled rpc leaves the queue, or ends its own handler; it never touches what the owner awaits. And no
outcome is told before COMMIT has returned, not even a replay, since the row it was read from may be the group's own.

SQLite rolls the whole transaction back on some errors (a full disk, INSERT OR ROLLBACK). Then the group is void: all of
its calls get UNAVAILABLE, which is in doubt and so repeated, and the connection is opened anew.
"""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import structlog
from grpclib.const import Status as Code

from sagagen.runtime.barrier import Record, RecordEmpty, RunHandler, State, read_meta
from sagagen.runtime.call import Db
from sagagen.runtime.clock import Clock
from sagagen.runtime.database import Database
from sagagen.runtime.definition import BARRIER_RETENTION_S
from sagagen.runtime.errors import RpcError
from sagagen.runtime.statement_pace import StatementPace
from sagagen.runtime.transaction_guard import Guard
from sagagen.runtime.transaction_hops import (
    Handled,
    Outcome,
    Write,
    begin,
    begin_at_once,
    commit,
    enter,
    leave,
    never_wait,
    nothing,
    outcome_of,
)
from sagagen.runtime.transaction_members import Group, Member, Turn, unavailable
from sagagen.runtime.transaction_observation import WriterObservation
from sagagen.runtime.transaction_purge import PURGE_EVERY_S, purge

HOLD_LIMIT_S = 1.0
"""Seconds that one handler may hold the writer."""
GROUP_CALLS = 32
GROUP_S = 0.05
"""Seconds after which a group takes no further call: nobody waits much longer for the sake of others.

Well above what a commit takes: where the event loop is busy a call takes milliseconds, and with less time than that
nearly every call would get a commit of its own."""
MAX_WAITING = 1024
"""Writes that may wait for their turn; one more is turned away with RESOURCE_EXHAUSTED."""

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
        self.hold_limit_s = hold_limit_s
        self._committed = committed
        self._observation = WriterObservation(path.stem)
        self._database: Database | None = None
        self._guard = Guard(is_read_only=False)
        self._pace = StatementPace()
        self._waiting: dict[Member, None] = {}
        self._work = asyncio.Event()
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
                writer._work.set()
                await asyncio.wait({owner})

    @property
    def purged_through_ms(self) -> int:
        """The latest `started` of the sagas that the barrier has forgotten."""
        return self._purged_through_ms

    async def write(self, write: Write, run: Callable[[Turn], Awaitable[Handled]]) -> Outcome:
        """Pass the barrier, run the handler in its turn if it is to run, and wait until that is committed.

        Cancelling ends the handler, and its effects with it; but not what is decided already.
        """
        try:
            member = self.queue(write)
        except RpcError as error:
            return Outcome(error=error)
        try:
            if turn := await member.turn:
                member.finish(await self._run_handler(write, run, turn))
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

    def queue(self, write: Write) -> Member:
        """Wait in line for a turn; `withdraw` must follow in any case. Raises RpcError if no more may wait."""
        if self._is_stopping:
            raise RpcError(Code.UNAVAILABLE, _STOPPED)
        if len(self._waiting) >= MAX_WAITING:
            raise RpcError(Code.RESOURCE_EXHAUSTED, "too many writes wait", retry_after_s=1.0)
        member = Member(write)
        self._waiting[member] = None
        self._work.set()
        return member

    def withdraw(self, member: Member) -> None:
        """Nobody asks for this call any more: what is not decided by now is undone."""
        self._waiting.pop(member, None)
        member.abandon()

    async def _run_handler(
        self, write: Write, run: Callable[[Turn], Awaitable[Handled]], turn: Turn
    ) -> Handled:
        limit = asyncio.timeout(self.hold_limit_s)
        try:
            async with limit:
                return await run(turn)
        except TimeoutError:
            return self.held_too_long(write)
        finally:
            turn.db.close()

    def held_too_long(self, write: Write) -> Handled:
        _logger.warning(
            "a handler held the writer for too long and was rolled back: slow work belongs in a manual method",
            rpc=write.name,
            limit_s=self.hold_limit_s,
        )
        slow = RpcError(Code.UNAVAILABLE, f"the handler took longer than {self.hold_limit_s:g} s")
        return Handled(Outcome(error=slow))

    async def _own(self) -> None:
        try:
            while self._waiting or not self._is_stopping:
                has_more = await self._purge_if_due()
                if self._waiting:
                    await self._commit_group()
                elif not has_more and not self._is_stopping:
                    self._work.clear()
                    await self._work.wait()
        finally:
            if self._purge_timer:
                self._purge_timer.cancel()
            for member in tuple(self._waiting):
                member.tell(unavailable(_STOPPED))
            await self._close()

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
        self._purge_timer = loop.call_at(self._purge_at_s, self._work.set)
        return False

    async def _commit_group(self) -> None:
        group = Group(self._clock.monotonic_s(), limit=1 if self._singly else GROUP_CALLS)
        self._singly = max(0, self._singly - 1)
        try:
            database = self._database or await self._open()
            if not database.in_place(begin_at_once):
                await database.in_thread(begin)
            while self._waiting and not self._is_complete(group):
                await self._serve(self._next(), group, database)
            await database.in_thread(commit)
        except Exception as error:  # noqa: BLE001 - whatever broke the group, the owner goes on with the next
            await self._void(group, error)
            return
        except BaseException:
            _tell_lost(group)
            raise
        self._observation.committed(group, self._clock.monotonic_s() - group.begun_s)
        for member in group.members:
            if member.record:
                self._committed(member.record)
            member.tell(member.settled or unavailable(_LOST))

    def _next(self) -> Member:
        member = next(iter(self._waiting))
        del self._waiting[member]
        return member

    async def _serve(self, member: Member, group: Group, database: Database) -> None:
        group.members.append(member)
        ruling = database.in_place(
            partial(
                enter,
                write=member.write,
                purged_through_ms=self._purged_through_ms,
                now_ms=self._clock.wall_ms(),
            )
        )
        self._observation.decided(member, ruling)
        if isinstance(ruling, RunHandler):
            handled = await self._hand_over(member, ruling, database)
            member.settled, member.record = handled.outcome, handled.record
            database.in_place(partial(leave, handled=handled))
            return
        member.settled = outcome_of(ruling)
        if isinstance(ruling, RecordEmpty):
            member.record = member.write.record(State.EMPTY)

    def _is_complete(self, group: Group) -> bool:
        return len(group.members) >= group.limit or self._clock.monotonic_s() - group.begun_s >= GROUP_S

    async def _hand_over(self, member: Member, ruling: RunHandler, database: Database) -> Handled:
        """Let the rpc's task run its handler, and wait for it; but not for ever."""
        if member.turn.done():
            return await member.handled
        db = Db(database, self._guard, self._pace)
        member.turn.set_result(Turn(db, ruling))
        # The rpc's task keeps the limit itself. This is for a handler that goes on though it was cancelled.
        timer = asyncio.get_running_loop().call_later(2 * self.hold_limit_s, self._give_up, member, db)
        try:
            handled = await member.handled
        finally:
            timer.cancel()
        if db.has_left_statements:
            await self._end_statements(database)
        return handled

    def _give_up(self, member: Member, db: Db) -> None:
        db.close()
        _logger.error(
            "a handler goes on though it was cancelled; it has lost its turn", rpc=member.write.name
        )
        member.abandon()

    async def _end_statements(self, database: Database) -> None:
        """Wait for the statements that a cancelled handler left in the thread; interrupt one that takes too long."""
        timer = asyncio.get_running_loop().call_later(self.hold_limit_s, database.interrupt_statement)
        try:
            await database.in_thread(nothing)
        finally:
            timer.cancel()

    async def _void(self, group: Group, error: Exception) -> None:
        _logger.error(
            "a group of writes was lost; its calls will be repeated",
            calls=[member.write.name for member in group.members],
            exc_info=error,
        )
        self._singly = GROUP_CALLS
        self._lost_s = self._clock.monotonic_s()
        await self._close()
        if not group.members and self._waiting:
            # The database could not even be opened: tell whoever waits, else the owner would try for ever.
            group.members.append(self._next())
        _tell_lost(group)

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


_PROBE = Write(None, b"", None, "/health check")


async def _do_nothing(_turn: Turn) -> Handled:
    return Handled(Outcome())


def _tell_lost(group: Group) -> None:
    for member in group.members:
        member.tell(unavailable(_LOST))
