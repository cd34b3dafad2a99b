"""ServiceStore: what a service needs of its database, whichever database that is.

A store keeps the handlers' tables and the barrier's in one place, so that an effect and its record are one local
transaction. It decides nothing by itself: `barrier.rules.rule` does, from the `StepRows` that the store reads in that
same transaction. `delivery` and `manual` talk to this port only. What every store must hold:

- An effect and its record are committed together or not at all, and no result reaches a caller before that is durable,
  not even a replay.
- Where a commit fails, or its success is not known, the result is UNAVAILABLE: in doubt, and so repeated.
- Cancelling a call ends its handler and undoes what is not finished. It never leaves a transaction open or half ended.
- A read sees one unchanging view of what is committed, and nothing of a transaction that is open.

The suite in `tests/service/test_store_conformance.py` holds every store to all of that.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import structlog
from grpclib.const import Status as Code

from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.rpc.metadata import SagaCall
from sagagen.runtime.service.barrier.calls import BarredCall, CallResult, Handled, Record
from sagagen.runtime.service.barrier.rules import RunHandler
from sagagen.runtime.service.call import Db

HOLD_LIMIT_S = 1.0
"""Seconds that one handler may keep its transaction open."""

_logger: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class DatabaseIdentity:
    """What distinguishes one database, at one start, from others."""

    database_id: int
    epoch: int
    """Counts the starts of a service on this database."""
    shared: str = ""
    """What names it among all databases, where several processes can share it; empty: this process has it alone."""


class Turn(Protocol):
    """A call's transaction, which the barrier has let the call into: it is open for the handler."""

    @property
    def db(self) -> Db:
        """For the handler's statements, until the turn ends."""
        ...

    @property
    def decision(self) -> RunHandler:
        """What the barrier says about the call."""
        ...


class OpenTurn(Turn, Protocol):
    """A turn that its caller ends: by `finish` and `commit`, or by `abandon`."""

    def finish(self, handled: Handled) -> None:
        """The handler has ended: keep its effects or undo them, and record its outcome."""
        ...

    def commit(self) -> Awaitable[CallResult]:
        """Wait until what `finish` asked for is durable. The result is an error if it is not, or may not be."""
        ...

    def abandon(self) -> None:
        """Undo what is not finished; nothing happens after `finish`. Must follow in any case."""
        ...


Handle = Callable[[Turn], Awaitable[Handled]]
"""Runs a handler in its call's turn."""


class ServiceStore(Protocol):
    """The database of one service."""

    @property
    def identity(self) -> DatabaseIdentity: ...

    @property
    def hold_limit_s(self) -> float:
        """Seconds that one handler may keep its transaction open."""
        ...

    @property
    def purged_through_ms(self) -> int:
        """The latest `started_ms` of the sagas that the barrier has forgotten; ms since the epoch."""
        ...

    def report_commits(self, committed: Callable[[Record], None]) -> None:
        """Call `committed` with each row once it is durable, before anybody gets the result."""
        ...

    def report_loss(self, lost: Callable[[], None]) -> None:
        """Call `lost` where another server took the database's place, which may lack some of what was committed."""
        ...

    def write(self, call: BarredCall, handle: Handle, /) -> Awaitable[CallResult]:
        """Pass the barrier, run the handler if it is to run, and wait until that is durable.

        A store may run `handle` more than once, each time in another turn; only the last one's effects are kept.
        Cancelling ends the handler, and undoes its effects unless it has returned.
        """
        ...

    def turn(self, call: BarredCall, limit: asyncio.Timeout, /) -> Awaitable[OpenTurn | CallResult]:
        """Pass the barrier and leave the transaction open, for a handler that is under way already.

        A result instead of a turn means that the handler may have no effect any more. The store reschedules `limit` if
        the turn takes longer than `hold_limit_s`.
        """
        ...

    def hold(self, call: SagaCall, /) -> Awaitable[bool]:
        """Let no other process run this manual call until `release`, or until this process ends.

        False: another one runs it. A repeat by the same process is True.
        """
        ...

    def release(self, call: SagaCall, /) -> Awaitable[None]:
        """A manual call has ended here."""
        ...

    def is_held_elsewhere(self, call: SagaCall, /) -> Awaitable[bool]:
        """Another process runs this manual call."""
        ...

    def read(self) -> AbstractAsyncContextManager[Db]:
        """One unchanging view of what is committed, until the block ends; a write raises."""
        ...

    def purge(self) -> Awaitable[None]:
        """Forget the sagas that are older than the retention: all rows of a saga at once, in batches.

        Returns when nothing old is left. A failure is logged, and left to the next time.
        """
        ...

    def check(self) -> Awaitable[str]:
        """What is wrong with the database, in a few words; empty if a call could be committed now."""
        ...


def held_too_long(call: BarredCall, limit_s: float) -> Handled:
    """The end of a handler that kept its transaction open longer than `limit_s` seconds; names it in the log."""
    _logger.warning(
        "a handler held the writer for too long and was rolled back: slow work belongs in a manual method",
        limit_s=limit_s,
        **call.about(),
    )
    slow = RpcError(Code.UNAVAILABLE, f"the handler took longer than {limit_s:g} s")
    return Handled(CallResult(error=slow))
