"""What a handler gets besides its request: the transaction that it works in, and who calls."""

import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import structlog

from sagagen.runtime.clock import Clock
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.service.barrier.rules import ActionState
from sagagen.runtime.service.sqlite_store.guard import Guard
from sagagen.runtime.service.sqlite_store.pace import StatementPace
from sagagen.runtime.sqlite.database import Database

T = TypeVar("T")
Parameters = Sequence[Any] | Mapping[str, Any]


class TransactionEnded(Exception):
    """`call.db` was used after its handler had returned, for example by a task that it left behind."""


class NoTransaction(Exception):
    """A handler asked for a transaction that it does not have, or has already."""


class Db:
    """The open local transaction of a call. In a read (NO_SIDE_EFFECTS): one unchanging view of the database.

    The runtime commits after the handler has returned, and rolls back if it raises. BEGIN, COMMIT, SAVEPOINT, ATTACH
    and PRAGMA raise StatementNotAllowed. SQL errors are sqlite3's own, for example sqlite3.IntegrityError.
    """

    def __init__(self, database: Database, guard: Guard, pace: StatementPace) -> None:
        self._database = database
        self._guard = guard
        self._pace = pace
        self._is_closed = False

    async def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """Run one statement and return the number of rows that it inserted, changed or deleted."""
        return await self._run(sql, lambda connection: _row_count(connection.execute(sql, parameters)))

    async def executemany(self, sql: str, parameters: Iterable[Parameters]) -> int:
        """Run one statement once for each set of parameters and return the number of rows changed in all."""
        return await self._run(sql, lambda connection: _row_count(connection.executemany(sql, parameters)))

    async def fetch(self, sql: str, parameters: Parameters = ()) -> list[sqlite3.Row]:
        """All rows of a query, or of a statement with RETURNING. A row is read by name or position."""
        return await self._run(sql, lambda connection: connection.execute(sql, parameters).fetchall())

    def close(self) -> None:
        """From now on every use raises TransactionEnded."""
        self._is_closed = True

    async def _run(self, sql: str, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._is_closed:
            raise TransactionEnded(
                "the transaction of this call has ended: a handler awaits all that it starts"
            )
        if self._pace.is_quick(sql) and self._database.is_idle:
            return self._run_in_place(sql, work)
        return await self._database.in_thread(lambda connection: self._timed(connection, sql, work))

    def _run_in_place(self, sql: str, work: Callable[[sqlite3.Connection], T]) -> T:
        begun_s = self._pace.begin_in_place()
        try:
            return self._database.in_place(lambda connection: self._guard.run(connection, work))
        finally:
            self._pace.end_in_place(sql, begun_s)

    def _timed(self, connection: sqlite3.Connection, sql: str, work: Callable[[sqlite3.Connection], T]) -> T:
        begun_s = time.monotonic()
        result = self._guard.run(connection, work)
        self._pace.note_in_thread(sql, time.monotonic() - begun_s)
        return result


def _row_count(cursor: sqlite3.Cursor) -> int:
    # A statement with RETURNING is not finished before its rows are read, and an unfinished one would block the commit.
    for _ in cursor:
        pass
    changed = max(cursor.rowcount, 0)
    cursor.close()
    return changed


class Deadline(NamedTuple):
    """Until when the caller waits; kept by the clock that never jumps."""

    clock: Clock
    at_monotonic_s: float

    @classmethod
    def after(cls, clock: Clock, timeout_s: float) -> "Deadline":
        return cls(clock, clock.monotonic_s() + timeout_s)

    def remaining_s(self) -> float:
        """Seconds left, 0 if it has passed: fit as the timeout of a call that the handler makes."""
        return max(0.0, self.at_monotonic_s - self.clock.monotonic_s())

    @property
    def at_ms(self) -> int:
        """On the wall clock: milliseconds since the epoch."""
        return self.clock.wall_ms() + round(self.remaining_s() * 1000)


class CallContext:
    """One delivery of a request to a handler."""

    def __init__(
        self,
        *,
        db: Db | None,
        begin: Callable[[], Awaitable[Db]] | None = None,
        deadline: Deadline,
        saga: SagaCall | None,
        idempotency_key: str,
        rpc: str,
        is_repeat: bool = False,
        action: ActionState | None = None,
    ) -> None:
        self._db = db
        self._begin = begin
        self.deadline = deadline
        self.saga_id = saga.saga_id if saga else ""
        """Empty if no saga makes this call."""
        self.step = saga.step if saga else ""
        self.idempotency_key = idempotency_key
        """The same for every attempt and every restart, so fit for a third party.

        Empty for a direct call without one."""
        self.attempt = saga.attempt if saga else 1
        """Starts at 1."""
        self.is_repeat = is_repeat or self.attempt > 1
        """An earlier attempt may have got as far as this one will, in a manual method to the third party."""
        self.action = action
        """In a compensation: UNKNOWN if the action died on its way to a third party; DONE otherwise."""
        self._rpc = rpc

    @property
    def db(self) -> Db:
        """The local transaction. In a `transaction: manual` method there is none before `begin`."""
        if self._db is None:
            raise NoTransaction("a manual method has no transaction before `db = await call.begin()`")
        return self._db

    async def begin(self) -> Db:
        """Open the local transaction of a `transaction: manual` method: once, near the handler's end.

        It commits after the handler has returned, together with the outcome. Raises RpcError if the call may not have
        effects any more, for example because it was compensated meanwhile: let that through.
        """
        if self._begin is None or self._db is not None:
            raise NoTransaction("`call.begin()` is for `transaction: manual` methods, and for one time")
        self._db = await self._begin()
        return self._db

    @cached_property
    def logger(self) -> structlog.stdlib.BoundLogger:
        """Its lines carry rpc, saga_id, step and attempt."""
        logger: structlog.stdlib.BoundLogger = structlog.get_logger("handlers")
        if not self.saga_id:
            return logger.bind(rpc=self._rpc)
        return logger.bind(rpc=self._rpc, saga_id=self.saga_id, step=self.step, attempt=self.attempt)
