"""What a handler gets besides its request: the transaction that it works in, and who calls."""

import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import structlog

from sagagen.runtime.clock import Clock
from sagagen.runtime.model.security import ClaimValue
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.service.barrier.rules import ActionState

Parameters = Sequence[Any] | Mapping[str, Any]


class TransactionEnded(Exception):
    """`call.db` was used after its handler had returned, for example by a task that it left behind."""


class NoTransaction(Exception):
    """A handler asked for a transaction that it does not have, or has already."""


class StatementNotAllowed(Exception):
    """A handler's SQL reached for what the runtime keeps to itself."""


class IntegrityError(sqlite3.IntegrityError):
    """A row breaks a constraint of the database, such as a key or a CHECK; the same on every store."""


class Row(Protocol):
    """A row of a query, read by name or position."""

    def __getitem__(self, key: str | int, /) -> Any: ...

    def __len__(self) -> int: ...

    def keys(self) -> Iterable[str]: ...


class Db(Protocol):
    """The open local transaction of a call. In a read (NO_SIDE_EFFECTS): one unchanging view of the database.

    The runtime commits after the handler has returned, and rolls back if it raises. Placeholders are `?`, `?1` or `$1`,
    or `:name` with a mapping. BEGIN, COMMIT, SAVEPOINT and whatever else is no query and no change of rows raise
    StatementNotAllowed. A broken constraint raises IntegrityError; other SQL errors are the database's own.
    """

    async def execute(self, sql: str, parameters: Parameters = ()) -> int:
        """Run one statement and return the number of rows that it inserted, changed or deleted."""
        ...

    async def executemany(self, sql: str, parameters: Iterable[Parameters]) -> int:
        """Run one statement once for each set of parameters and return the number of rows changed in all."""
        ...

    async def fetch(self, sql: str, parameters: Parameters = ()) -> Sequence[Row]:
        """All rows of a query, or of a statement with RETURNING. A row is read by name or position."""
        ...

    def attempt(self) -> AbstractAsyncContextManager[None]:
        """A part of the transaction that may fail by itself: what it did is undone if an error leaves the block.

        PostgreSQL ends a transaction at its first error, so whoever goes on after an error does it like this:

            try:
                async with call.db.attempt():
                    await call.db.execute("INSERT INTO ...")
            except IntegrityError:
                ...
        """
        ...


class Deadline(NamedTuple):
    """Until when the caller waits; kept by the clock that never jumps."""

    clock: Clock
    at_monotonic_s: float
    """On the clock's `monotonic_s`."""

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
        key: str,
        caller: str,
        claims: Mapping[str, ClaimValue],
        rpc: str,
        is_repeat: bool = False,
        action: ActionState | None = None,
    ) -> None:
        """`key`: the idempotency key of a direct call; that of a saga's call follows from the call."""
        self._db = db
        self._begin = begin
        self._saga = saga
        self._key = key
        self._rpc = rpc
        self.deadline = deadline
        self.saga_id = saga.saga_id if saga else ""
        """Empty if no saga makes this call."""
        self.step = saga.step if saga else ""
        """The step's name; of a loop with the item's key: `reserve[margherita]`."""
        self.caller = caller
        """On whose behalf: who started the saga, or calls directly, as the contract's schemes say, or a hook.

        Empty if the gateway did not say. As trustworthy as whoever may reach the service's port.
        """
        self.claims = claims
        """What is known of the caller besides: each claim that the contract names, a text, bool, int or tuple of texts.

        Its type's default ("", False, 0 or ()) where the caller has none. Trustworthy as `caller` is.
        """
        self.attempt = saga.attempt if saga else 1
        """Starts at 1."""
        self.is_repeat = is_repeat or self.attempt > 1
        """An earlier attempt may have got as far as this one will, in a manual method to the third party."""
        self.action = action
        """In a compensation: UNKNOWN if the action died on its way to a third party; DONE otherwise."""

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt and every restart, so fit for a third party.

        Empty for a direct call without one.
        """
        return self._saga.idempotency_key if self._saga else self._key

    @property
    def now(self) -> datetime:
        """The service's clock, in UTC. Virtual in tests, where `datetime.now` is the machine's."""
        return datetime.fromtimestamp(self.deadline.clock.wall_ms() / 1000, UTC)

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
