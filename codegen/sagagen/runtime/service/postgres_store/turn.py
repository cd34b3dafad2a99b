"""A call's open transaction: what a handler works in, and what a manual method's run ends by itself."""

import asyncio
from contextlib import AsyncExitStack
from typing import Protocol, Self

from sagagen.runtime.postgres.connection import LOST, PgConnection
from sagagen.runtime.service.barrier.calls import BarredCall, CallResult, Handled, unavailable
from sagagen.runtime.service.barrier.rules import RunHandler
from sagagen.runtime.service.postgres_store.db import PostgresDb
from sagagen.runtime.service.postgres_store.repeating import Turns
from sagagen.runtime.service.postgres_store.transaction import Entered, NotCommitted


class TurnOwner(Protocol):
    """The store, as a turn knows it."""

    hold_limit_s: float

    async def end_turn(
        self, connection: PgConnection, call: BarredCall, entered: Entered, db: PostgresDb, handled: Handled
    ) -> CallResult: ...

    def leave(self, connection: PgConnection, stack: AsyncExitStack) -> None: ...

    def without_answer(self, error: Exception) -> CallResult: ...


class PostgresTurn:
    """Implements OpenTurn."""

    def __init__(
        self,
        owner: TurnOwner,
        stack: AsyncExitStack,
        connection: PgConnection,
        call: BarredCall,
        entered: Entered,
        decision: RunHandler,
        limit: asyncio.Timeout | None,
        turns: Turns | None = None,
    ) -> None:
        """`stack` gives the connection back. Without `limit` whoever runs the handler sees to the time."""
        self.db = PostgresDb(connection, turns)
        self.decision = decision
        self._owner = owner
        self._stack = stack
        self._connection = connection
        self._call = call
        self._entered = entered
        self._handled: Handled | None = None
        self._is_over = False
        self._timer: asyncio.TimerHandle | None = None
        if limit is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(owner.hold_limit_s, self._end_handler, limit, loop)

    @classmethod
    def of_write(
        cls,
        owner: TurnOwner,
        connection: PgConnection,
        call: BarredCall,
        entered: Entered,
        decision: RunHandler,
        turns: Turns | None,
    ) -> Self:
        """For a handler that the store itself runs, and whose transaction it ends. `turns` as PostgresDb has them."""
        return cls(owner, AsyncExitStack(), connection, call, entered, decision, None, turns)

    def finish(self, handled: Handled) -> None:
        """As OpenTurn says."""
        if self._handled is None and not self._is_over:
            self._handled = handled
            self._close()

    async def commit(self) -> CallResult:
        """As OpenTurn says."""
        if self._handled is None or self._is_over:
            return unavailable("the call was abandoned")
        self._is_over = True
        try:
            async with self._stack:
                return await self._owner.end_turn(
                    self._connection, self._call, self._entered, self.db, self._handled
                )
        except (NotCommitted, *LOST) as error:
            return self._owner.without_answer(error)

    def abandon(self) -> None:
        """As OpenTurn says."""
        if self._handled is None and not self._is_over:
            self._is_over = True
            self._close()
            self._owner.leave(self._connection, self._stack)

    def _close(self) -> None:
        self.db.close()
        if self._timer:
            self._timer.cancel()

    def _end_handler(self, limit: asyncio.Timeout, loop: asyncio.AbstractEventLoop) -> None:
        limit.reschedule(loop.time())
