"""The writer of a service's database: calls have their turns in it one after the other, and are committed in groups.

Theory of operation. One connection writes. A call takes the turn if it is free, otherwise it waits in line until the
turn is offered to it. What then happens is one transaction for all calls of a group:

    BEGIN IMMEDIATE                       by the first call of the group
      for each call in its turn
        the barrier                       the step's rows are read, and `barrier.rules.rule` decides
        to run its handler:               SAVEPOINT
                                          the handler, in the task of its rpc, for at most the hold limit
                                          ROLLBACK TO, unless its effects are kept
                                          the barrier's row, RELEASE
        an empty compensation:            the barrier's row
        a replay, or a refusal:           nothing
    COMMIT                                once nobody has the turn and nobody waits, or the group is full
    for each call                         its row is reported, then its caller gets the result

A call makes all of its steps itself and in place, in the event loop's thread: a barrier's row takes 20 us, and handing
it to the connection's thread three times as much. What has to be awaited is left to the owner, a task: it opens the
connection, begins where another program holds the file's lock, waits for statements that a handler left in the thread,
commits, and forgets what is old. Both go by one state:

    state           the owner                         events, and the states that follow
    -----           ---------                         ----------------------------------
    BUSY            opens, begins, forgets            BEGIN -> FREE  BREAK -> VOID  REST -> IDLE  STOP -> STOPPED
    IDLE            waits                             BEGIN -> FREE  WAKE -> BUSY
    FREE            commits                           OFFER -> OFFERED  TAKE -> HELD  COMMIT -> COMMITTING
    OFFERED         waits                             TAKE -> HELD  PASS -> FREE
    HELD            waits                             PASS -> FREE  LEAVE -> LEFT_TO_OWNER  BREAK -> VOID
    LEFT_TO_OWNER   awaits the thread, ends the turn  PASS -> FREE  BREAK -> VOID
    COMMITTING      awaits the COMMIT                 REST -> BUSY  BREAK -> VOID
    VOID            closes the connection             REST -> BUSY
    STOPPED         has ended

`states` says what each of them means, and holds the table that is looked up. An owner that is cancelled leaves STOPPED
behind, whatever the state was. Three rules follow.

Cancelling. A cancelled rpc leaves the line, declines the turn that it was offered, or ends its own handler. Steps made
in place lie between two awaits, where no cancellation can come; and what the owner awaits, no client can cancel.

Results. No caller gets one before COMMIT has returned, not even a replay: its row may be the group's own.

Void groups. SQLite rolls the whole transaction back on some errors (a full disk, INSERT OR ROLLBACK), and after a step
that fails nobody knows what is left of it. Then every call of the group gets UNAVAILABLE, which is in doubt and so
repeated; the connection is opened anew; and the next GROUP_CALLS groups have one call each, so that the call that
spoilt the group fails alone when it comes again (decision 041).
"""

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import Context
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from grpclib.const import Status as Code

from sagagen.runtime.clock import Clock
from sagagen.runtime.model.definition import BARRIER_RETENTION_S
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.service.barrier.calls import (
    BarredCall,
    CallResult,
    Handled,
    Record,
    result_of,
    unavailable,
)
from sagagen.runtime.service.barrier.rules import RecordEmpty, RunHandler, State
from sagagen.runtime.service.sqlite_store.db import Session, SqliteDb
from sagagen.runtime.service.sqlite_store.observation import WriterObservation
from sagagen.runtime.service.sqlite_store.purge import purge_batch
from sagagen.runtime.service.sqlite_store.states import AFTER, WriterEvent, WriterState
from sagagen.runtime.service.sqlite_store.steps import (
    begin,
    begin_at_once,
    begin_call,
    commit,
    end_call,
    never_wait,
    nothing,
)
from sagagen.runtime.service.sqlite_store.table import read_meta
from sagagen.runtime.service.sqlite_store.timing import StatementTiming
from sagagen.runtime.service.sqlite_store.turn import Group, WriterTurn
from sagagen.runtime.service.store import HOLD_LIMIT_S, Handle, Turn, held_too_long
from sagagen.runtime.sqlite.database import Database, DatabaseError, OpenDatabase

if TYPE_CHECKING:
    from sagagen.runtime.vault.vault import Vault

GROUP_CALLS = 32
GROUP_S = 0.05
"""Seconds after which a group takes no further call: nobody waits much longer for the sake of others.

Well above what a commit takes: where the event loop is busy a call takes milliseconds, and with less time than that
nearly every call would get a commit of its own."""
MAX_WAITING = 1024
"""Writes that may wait for their turn; one more is turned away with RESOURCE_EXHAUSTED."""
LOST_LATELY_S = 5.0
"""For so many seconds after a commit that failed, the service does not say that it is well."""

_ABANDONED = "the call was abandoned"
_LOST = "the service could not commit"
_STOPPED = "the service has stopped"
_PROBE = BarredCall(None, b"", None, "/health check")

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Writer:
    """The one owner of the connection, of the line of calls, and of the group that is open."""

    def __init__(
        self,
        path: Path,
        clock: Clock,
        *,
        retention_s: float,
        hold_limit_s: float,
        database_at: OpenDatabase = Database,
        vault: "Vault | None" = None,
    ) -> None:
        self.hold_limit_s = hold_limit_s
        self.purged_through_ms = 0
        """The latest `started_ms` of the sagas that the barrier has forgotten."""
        self.committed: Callable[[Record], None] = _ignore
        """Called with each row of the barrier once it is committed, before anybody gets the result."""
        self._path = path
        self._database_at = database_at
        self._clock = clock
        self._vault = vault
        """Encrypts what is recorded; None: nothing does."""
        self._retention_ms = round(retention_s * 1000)
        self._loop = asyncio.get_running_loop()
        self._observation = WriterObservation(path.stem)
        self._timing = StatementTiming(clock.monotonic_s)

        self._state = WriterState.BUSY
        self._session: Session | None = None
        self._waiting: dict[WriterTurn, None] = {}
        """The line, first come first."""
        self._holder: WriterTurn | None = None
        """Whose turn it is; not None in OFFERED, HELD and LEFT_TO_OWNER."""
        self._for_owner = Handled(CallResult())
        """In LEFT_TO_OWNER: how the holder's turn is to end."""
        self._group = Group(0.0, 0)
        self._singly = 0
        """Calls that still get a group of their own, so that one that spoils groups spoils no others' again."""
        self._lost_s = float("-inf")
        """When a commit failed last, on the monotonic clock."""
        self._purging: asyncio.Future[None] | None = None
        """Somebody waits until what is old is forgotten."""
        self._is_stopping = False
        self._changed = asyncio.Event()
        """The owner is to look at the state again."""
        self._context = Context()
        """Of timers, which serve all calls."""
        self._timer: asyncio.TimerHandle | None = None
        """Runs while turns are taken, for whoever holds the writer too long; one for all of them."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: Path,
        clock: Clock,
        *,
        retention_s: float = BARRIER_RETENTION_S,
        hold_limit_s: float = HOLD_LIMIT_S,
        database_at: OpenDatabase = Database,
        vault: "Vault | None" = None,
    ) -> AsyncGenerator["Writer"]:
        """Run the owner. The barrier's tables must exist. Leaving serves those who wait, and closes the connection."""
        writer = cls(
            path,
            clock,
            retention_s=retention_s,
            hold_limit_s=hold_limit_s,
            database_at=database_at,
            vault=vault,
        )
        await writer._open_session()
        async with asyncio.TaskGroup() as group:
            owner = group.create_task(writer._own(), name=f"writer of {path.name}")
            try:
                yield writer
            finally:
                writer._is_stopping = True
                writer._wake()
                await asyncio.wait({owner})

    async def write(self, call: BarredCall, handle: Handle) -> CallResult:
        """As ServiceStore says. `handle` runs at most once."""
        turn = WriterTurn(self, call, asyncio.timeout(None), self._loop.create_future())
        try:
            if await self._acquire(turn):
                self.finish(turn, await self._handle(turn, handle))
            return await turn.result
        except BaseException:
            self.withdraw(turn)
            raise

    async def turn(self, call: BarredCall, limit: asyncio.Timeout) -> WriterTurn | CallResult:
        """As ServiceStore says."""
        turn = WriterTurn(self, call, limit, self._loop.create_future())
        try:
            return turn if await self._acquire(turn) else await turn.result
        except BaseException:
            self.withdraw(turn)
            raise

    async def purge(self) -> None:
        """As ServiceStore says. Calls that wait have their groups between the batches."""
        if self._purging is None and not self._is_stopping:
            self._purging = self._loop.create_future()
            self._wake()
        if self._purging is not None:
            await asyncio.wait({self._purging})

    async def check(self) -> str:
        """Take a turn that does nothing: the owner, its connection and the lock must all be there for it."""
        if self._clock.monotonic_s() - self._lost_s < LOST_LATELY_S:
            return _LOST
        result = await self.write(_PROBE, _do_nothing)
        is_busy = result.error is not None and result.error.code is Code.RESOURCE_EXHAUSTED
        return "" if result.error is None or is_busy else result.error.message

    # the calls' side: whatever changes the state here does so between two awaits

    async def _acquire(self, turn: WriterTurn) -> bool:
        """Wait for the call's turn, and begin it. False: no handler is to run, and the result says why."""
        if self._is_stopping:
            turn.resolve(unavailable(_STOPPED))
            return False
        # Whoever waits was here before, so a turn that becomes free meanwhile is not for this call.
        is_free = self._has_room() if self._state is WriterState.FREE else self._begin_in_place()
        if is_free and not self._waiting:
            self._holder = turn
        elif not await self._wait(turn):
            return False
        self._state = AFTER[self._state, WriterEvent.TAKE]
        return self._begin_turn(turn)

    def _begin_in_place(self) -> bool:
        """Where the owner has nothing to do, a call begins the group itself. Where it can't, the owner does."""
        if self._state is not WriterState.IDLE or self._session is None:
            return False  # in IDLE nobody waits, and nothing is left in the thread
        try:
            if not begin_at_once(self._session.connection):
                return False
        except sqlite3.Error:
            return False  # the owner meets it again, and sees to it
        self._open_group()
        return True

    def _has_room(self) -> bool:
        group = self._group
        return len(group.turns) < group.limit and self._clock.monotonic_s() - group.begun_s < GROUP_S

    async def _wait(self, turn: WriterTurn) -> bool:
        """False if the turn never came: the result says why."""
        if len(self._waiting) >= MAX_WAITING:
            error = RpcError(Code.RESOURCE_EXHAUSTED, "too many writes wait", retry_after_s=1.0)
            turn.resolve(CallResult(error=error))
            return False
        turn.offered = self._loop.create_future()
        self._waiting[turn] = None
        self._wake()
        await turn.offered
        return self._holder is turn

    def _begin_turn(self, turn: WriterTurn) -> bool:
        """Pass the barrier. False: no handler is to run, and the turn has ended."""
        assert self._session, "a group is open"
        # A member of the group before anything else: if the barrier fails, the call is in doubt with all the others.
        self._group.turns.append(turn)
        try:
            decision = begin_call(
                self._session.connection,
                turn.call,
                self.purged_through_ms,
                self._clock.wall_ms(),
                self._vault,
            )
        except Exception as error:  # noqa: BLE001 - whatever broke the group, the owner sees to it
            self._break(error)
            return False
        self._observation.decided(turn, decision)
        if isinstance(decision, RunHandler):
            turn.db, turn.decision = SqliteDb(self._session), decision
            turn.until_s = self._loop.time() + self.hold_limit_s
            if self._timer is None:
                self._timer = self._look_later(turn.until_s)
            return True
        turn.settled = result_of(decision)
        if isinstance(decision, RecordEmpty):
            turn.record = turn.call.record(State.EMPTY)
        self._pass_on()
        return False

    async def _handle(self, turn: WriterTurn, handle: Handle) -> Handled:
        try:
            async with turn.limit:
                return await handle(turn)
        except TimeoutError:
            return held_too_long(turn.call, self.hold_limit_s)

    def finish(self, turn: WriterTurn, handled: Handled) -> None:
        """The handler has ended. Whoever has lost the turn meanwhile finishes nothing."""
        if turn is not self._holder or self._state is not WriterState.HELD:
            return
        assert self._session, "a group is open"
        turn.db.close()
        # Ending the turn in place must not overtake a statement that the handler has left in the thread.
        if self._session.database.is_idle:
            self._end_turn(turn, handled)
        else:
            self._leave_to_owner(handled)

    def withdraw(self, turn: WriterTurn) -> None:
        """Nobody asks for this call any more: what is not decided by now is undone."""
        self._waiting.pop(turn, None)
        if turn is not self._holder:
            return
        if self._state is WriterState.OFFERED:
            self._pass_on()
        else:
            self.finish(turn, Handled(unavailable(_ABANDONED)))

    def _end_turn(self, turn: WriterTurn, handled: Handled) -> None:
        assert self._session, "a group is open"
        try:
            end_call(self._session.connection, handled, self._vault)
        except Exception as error:  # noqa: BLE001 - as above
            self._break(error)
            return
        turn.settled, turn.record = handled.result, handled.record
        self._pass_on()

    def _leave_to_owner(self, handled: Handled) -> None:
        self._for_owner = handled
        self._state = AFTER[self._state, WriterEvent.LEAVE]
        self._changed.set()

    def _pass_on(self) -> None:
        self._holder = None
        self._state = AFTER[self._state, WriterEvent.PASS]
        self._offer()

    def _offer(self) -> None:
        """Offer the turn to the first in line; have the owner commit if there is none, or the group is full."""
        while self._waiting and self._has_room():
            turn = self._take_first()
            if turn.offered and not turn.offered.done():  # otherwise it is cancelled, but has not run since
                self._holder = turn
                self._state = AFTER[self._state, WriterEvent.OFFER]
                turn.offered.set_result(None)
                return
        self._changed.set()

    def _take_first(self) -> WriterTurn:
        turn = next(iter(self._waiting))
        del self._waiting[turn]
        return turn

    def _break(self, error: Exception) -> None:
        """Nothing of the group may be committed."""
        self._holder = None
        self._group.error = error
        self._state = AFTER[self._state, WriterEvent.BREAK]
        self._changed.set()

    def _wake(self) -> None:
        if self._state is WriterState.IDLE:
            self._state = AFTER[self._state, WriterEvent.WAKE]
        self._changed.set()

    def _look_at_holder(self) -> None:
        """Cancel a handler that has held the writer for too long, and go on without one that ignores that."""
        self._timer = None
        turn = self._holder
        if turn is None or self._state is not WriterState.HELD:
            return
        now_s = self._loop.time()
        if now_s >= turn.until_s:
            if turn.is_late:
                self._give_up(turn)
                return
            turn.is_late, turn.until_s = True, now_s + self.hold_limit_s
            # A manual handler may have ended without the task that began its transaction.
            with suppress(RuntimeError):
                turn.limit.reschedule(now_s)
        self._timer = self._look_later(turn.until_s)

    def _look_later(self, at_s: float) -> asyncio.TimerHandle:
        # In a context of its own: in that of whoever sets the timer, its log lines would be about that call.
        return self._loop.call_at(at_s, self._look_at_holder, context=self._context)

    def _give_up(self, turn: WriterTurn) -> None:
        turn.db.close()
        _logger.error("a handler goes on though it was cancelled; it has lost its turn", **turn.call.about())
        self._leave_to_owner(Handled(unavailable(_ABANDONED)))

    # the owner's side: whatever is awaited here, no client can cancel

    async def _own(self) -> None:
        try:
            while self._state is not WriterState.STOPPED:
                match self._state:
                    case WriterState.BUSY:
                        await self._work()
                    case WriterState.FREE:
                        await self._commit()
                    case WriterState.LEFT_TO_OWNER:
                        await self._end_turn_left()
                    case WriterState.VOID:
                        await self._void()
                    case _:
                        self._changed.clear()
                        await self._changed.wait()
        finally:
            await self._stop()

    async def _work(self) -> None:
        """Between two groups."""
        has_more_to_purge = False
        if self._purging and not self._is_stopping:
            has_more_to_purge = await self._purge_batch(self._purging)
        if self._waiting:
            await self._begin()
        elif self._is_stopping:
            self._state = AFTER[self._state, WriterEvent.STOP]
        elif not has_more_to_purge:
            self._state = AFTER[self._state, WriterEvent.REST]

    async def _begin(self) -> None:
        try:
            session = self._session or await self._open_session()
            if not begin_at_once(session.connection):
                await session.database.in_thread(begin)
        except Exception as error:  # noqa: BLE001 - whatever it was, the owner goes on
            # Tell whoever waits longest, otherwise the owner would try for ever.
            self._group = Group(0.0, 0, [self._take_first()] if self._waiting else [])
            self._break(error)
        else:
            self._open_group()
            self._offer()

    def _open_group(self) -> None:
        limit = 1 if self._singly else GROUP_CALLS
        self._singly = max(0, self._singly - 1)
        self._group = Group(self._clock.monotonic_s(), limit)
        self._state = AFTER[self._state, WriterEvent.BEGIN]

    async def _end_turn_left(self) -> None:
        """Wait for the statements that a handler left in the thread; interrupt one that takes too long."""
        assert self._session
        assert self._holder
        database = self._session.database
        timer = self._loop.call_later(self.hold_limit_s, database.interrupt_statement)
        try:
            await database.in_thread(nothing)
        finally:
            timer.cancel()
        self._end_turn(self._holder, self._for_owner)

    async def _commit(self) -> None:
        assert self._session, "a group is open"
        self._state = AFTER[self._state, WriterEvent.COMMIT]
        try:
            await self._session.database.in_thread(commit)
        except Exception as error:  # noqa: BLE001 - whatever broke the group, the owner goes on with the next
            self._break(error)
            return
        group, self._group = self._group, Group(0.0, 0)
        self._state = AFTER[self._state, WriterEvent.REST]
        self._observation.committed(group, self._clock.monotonic_s() - group.begun_s)
        for turn in group.turns:
            # The row first: a caller that has its result may repeat the call, and then it is to be remembered.
            if turn.record:
                self.committed(turn.record)
            turn.resolve(turn.settled or unavailable(_LOST))

    async def _void(self) -> None:
        group, self._group = self._group, Group(0.0, 0)
        _logger.error(
            "a group of writes was lost; its calls will be repeated",
            calls=[turn.call.name for turn in group.turns],
            exc_info=group.error,
        )
        self._singly = GROUP_CALLS
        self._lost_s = self._clock.monotonic_s()
        try:
            # Closing ends what is left of the transaction: after that a repeat finds either nothing of it, or all.
            await self._close_session()
        finally:
            _resolve_all(group.turns, unavailable(_LOST))
        self._state = AFTER[self._state, WriterEvent.REST]

    async def _purge_batch(self, purging: asyncio.Future[None]) -> bool:
        """Forget a batch of what is old. True: there is more, to be forgotten after those that wait now."""
        work = partial(purge_batch, retention_ms=self._retention_ms, now_ms=self._clock.wall_ms())
        try:
            session = self._session or await self._open_session()
            purged = await session.database.in_thread(work)
        except (sqlite3.Error, DatabaseError) as error:
            _logger.error("the barrier could not be purged", path=str(self._path), exc_info=error)
            await self._close_session()
            purged = None
        if purged:
            self.purged_through_ms = max(self.purged_through_ms, purged.through_ms)
        if purged and purged.has_more:
            return True
        purging.set_result(None)
        self._purging = None
        return False

    async def _stop(self) -> None:
        """The owner's last act, whether the store closes or the owner was cancelled: nobody waits for it any more."""
        self._is_stopping = True
        self._state = WriterState.STOPPED
        if self._timer:
            self._timer.cancel()
        if self._purging:
            self._purging.set_result(None)
        _resolve_all(self._group.turns, unavailable(_LOST))
        _resolve_all([*self._waiting], unavailable(_STOPPED))
        await self._close_session()

    async def _open_session(self) -> Session:
        session = await Session.open(self._path, self._timing, database_at=self._database_at)
        self._session = session
        await session.database.in_thread(never_wait)
        self.purged_through_ms = await session.database.in_thread(
            lambda connection: read_meta(connection, "purged_through_ms")
        )
        return session

    async def _close_session(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            try:
                await session.database.close()
            except sqlite3.Error as error:
                _logger.error("a connection could not be closed", path=str(self._path), exc_info=error)


def _resolve_all(turns: list[WriterTurn], result: CallResult) -> None:
    for turn in turns:
        turn.resolve(result)


async def _do_nothing(_turn: Turn) -> Handled:
    return Handled(CallResult())


def _ignore(_record: Record) -> None:
    pass
