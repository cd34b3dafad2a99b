"""The line of a service's calls: each has its turn in the open group, in the task of its own rpc.

A turn's steps (barrier, SAVEPOINT, undo or barrier row, RELEASE) are made in place, between two awaits, so that no
cancellation can come in between. What can't be done in place is left to the owner of the connection, which `changed`
wakes: to begin, to wait for statements that a handler left in the thread, and to commit once nobody has the turn.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import structlog
from grpclib.const import Status as Code

from sagagen.runtime.clock import Clock
from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.service.barrier.rules import RecordEmpty, RunHandler, State
from sagagen.runtime.service.call import Db
from sagagen.runtime.service.sqlite_store.members import Group, Member, Turn, unavailable
from sagagen.runtime.service.sqlite_store.observation import WriterObservation
from sagagen.runtime.service.sqlite_store.pace import StatementPace
from sagagen.runtime.service.sqlite_store.steps import (
    CallResult,
    Handled,
    begin_call,
    end_call,
    nothing,
    outcome_of,
)

GROUP_CALLS = 32
GROUP_S = 0.05
"""Seconds after which a group takes no further call: nobody waits much longer for the sake of others.

Well above what a commit takes: where the event loop is busy a call takes milliseconds, and with less time than that
nearly every call would get a commit of its own."""
MAX_WAITING = 1024
"""Writes that may wait for their turn; one more is turned away with RESOURCE_EXHAUSTED."""

_ABANDONED = "the call was abandoned"

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class WriterQueue:
    """Who waits, who has the turn, and the group that takes members now."""

    def __init__(
        self,
        clock: Clock,
        pace: StatementPace,
        observation: WriterObservation,
        *,
        hold_limit_s: float,
        begin_now: Callable[[], Group | None],
    ) -> None:
        """`begin_now` begins a group if that can be done in place; None if the owner is busy or has to wait."""
        self.group: Group | None = None
        self.changed = asyncio.Event()
        """There is something for the owner to do."""
        self._clock = clock
        self._pace = pace
        self._observation = observation
        self._hold_limit_s = hold_limit_s
        self._begin_now = begin_now
        self._waiting: dict[Member, None] = {}
        self._holder: Member | None = None
        self._left: tuple[Member, Handled] | None = None
        """A turn whose end the owner has to make: of the holder, whose statements are still in the thread."""
        self._timer: asyncio.TimerHandle | None = None
        """Runs while turns are taken, for whoever holds the writer too long; one for all of them."""

    @property
    def has_waiting(self) -> bool:
        return bool(self._waiting)

    async def take(self, member: Member) -> Turn | None:
        """Wait for the turn, and make the barrier's ruling in it; `withdraw` must follow in any case.

        None if no handler is to run: what there is to tell comes with the outcome. Raises RpcError RESOURCE_EXHAUSTED
        if no more may wait.
        """
        if self._is_free():
            self._holder = member
        else:
            await self._wait(member)
            if self._holder is not member:
                return None
        assert self.group, "turns are given in a group"
        return self._enter(member, self.group)

    def finish(self, member: Member, handled: Handled) -> None:
        """The handler has ended. Who has lost the turn meanwhile finishes nothing."""
        if member is not self._holder or self._left:
            return
        assert self.group, "turns are given in a group"
        if self.group.database.is_idle:
            self._leave(member, self.group, handled)
        else:
            self._leave_to_owner(member, handled)

    def withdraw(self, member: Member) -> None:
        """Nobody asks for this call any more: what is not decided by now is undone."""
        self._waiting.pop(member, None)
        if member is not self._holder:
            return
        if member.db is None:  # cancelled before its turn had begun
            self._pass_on()
        else:
            member.db.close()
            self.finish(member, Handled(unavailable(_ABANDONED)))

    def open(self, group: Group) -> None:
        """For the owner: from now on turns are given in this group."""
        self.group = group
        self._pass_on()

    async def end(self, group: Group) -> None:
        """For the owner: wait until nobody has the turn; then the group takes no further members."""
        while self._holder:
            if self._left:
                await self._end_left(group, *self._left)
                continue
            self.changed.clear()
            await self.changed.wait()
        self.group = None

    def take_first(self) -> Member | None:
        """For the owner that can't begin a group: the first in line, which is to be told."""
        member = next(iter(self._waiting), None)
        if member:
            del self._waiting[member]
        return member

    def stop(self, outcome: CallResult) -> None:
        """Tell everybody in line."""
        if self._timer:
            self._timer.cancel()
        for member in tuple(self._waiting):
            member.tell(outcome)

    def _is_free(self) -> bool:
        if self._holder or self._waiting:
            return False
        group = self.group or self._begin_now()
        if group is None:
            return False
        self.group = group
        return not self._is_complete(group)

    def _is_complete(self, group: Group) -> bool:
        return (
            group.error is not None
            or len(group.members) >= group.limit
            or self._clock.monotonic_s() - group.begun_s >= GROUP_S
        )

    async def _wait(self, member: Member) -> None:
        if len(self._waiting) >= MAX_WAITING:
            raise RpcError(Code.RESOURCE_EXHAUSTED, "too many writes wait", retry_after_s=1.0)
        member.turn = asyncio.get_running_loop().create_future()
        self._waiting[member] = None
        self.changed.set()
        await member.turn

    def _enter(self, member: Member, group: Group) -> Turn | None:
        group.members.append(member)
        try:
            ruling = group.database.in_place(
                partial(
                    begin_call,
                    write=member.write,
                    purged_through_ms=group.purged_through_ms,
                    now_ms=self._clock.wall_ms(),
                )
            )
        except Exception as error:  # noqa: BLE001 - whatever broke the group, the owner sees to it
            group.error = error
            self._pass_on()
            return None
        self._observation.decided(member, ruling)
        if isinstance(ruling, RunHandler):
            member.db = Db(group.database, group.guard, self._pace)
            member.begun_s = asyncio.get_running_loop().time()
            self._watch()
            return Turn(member.db, ruling)
        member.settled = outcome_of(ruling)
        if isinstance(ruling, RecordEmpty):
            member.record = member.write.record(State.EMPTY)
        self._pass_on()
        return None

    def _leave(self, member: Member, group: Group, handled: Handled) -> None:
        try:
            group.database.in_place(partial(end_call, handled=handled))
        except Exception as error:  # noqa: BLE001 - as above
            group.error = error
        else:
            member.settled, member.record = handled.outcome, handled.record
        self._pass_on()

    def _pass_on(self) -> None:
        """Give the turn to the next in line, or have the owner commit."""
        self._holder = None
        if self.group and not self._is_complete(self.group):
            while member := self.take_first():
                if member.turn and not member.turn.done():  # else it is cancelled, but has not run since
                    self._holder = member
                    member.turn.set_result(None)
                    return
        self.changed.set()

    def _leave_to_owner(self, member: Member, handled: Handled) -> None:
        self._left = member, handled
        self.changed.set()

    async def _end_left(self, group: Group, member: Member, handled: Handled) -> None:
        """Wait for the statements that a handler left in the thread; interrupt one that takes too long."""
        database = group.database
        timer = asyncio.get_running_loop().call_later(self._hold_limit_s, database.interrupt_statement)
        try:
            await database.in_thread(nothing)
        finally:
            timer.cancel()
        self._left = None
        self._leave(member, group, handled)

    def _watch(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._hold_limit_s, self._look)

    def _look(self) -> None:
        """Cancel a handler that has held the writer for too long, and go on without one that ignores that."""
        self._timer = None
        member = self._holder
        if member is None or member.db is None or self._left:
            return
        loop = asyncio.get_running_loop()
        held_s = loop.time() - member.begun_s
        if held_s >= 2 * self._hold_limit_s:
            self._give_up(member, member.db)
            return
        is_late = held_s >= self._hold_limit_s
        if is_late:
            # A manual handler may have ended without the task that began its transaction.
            with suppress(RuntimeError):
                member.limit.reschedule(loop.time())
        look_in_s = (2 if is_late else 1) * self._hold_limit_s - held_s
        self._timer = loop.call_later(look_in_s, self._look)

    def _give_up(self, member: Member, db: Db) -> None:
        db.close()
        _logger.error(
            "a handler goes on though it was cancelled; it has lost its turn", rpc=member.write.name
        )
        self._leave_to_owner(member, Handled(unavailable(_ABANDONED)))
