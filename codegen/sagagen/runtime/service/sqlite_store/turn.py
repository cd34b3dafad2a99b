"""A call on its way through the writer, and the group that is committed as one."""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Protocol

from sagagen.runtime.service.barrier.calls import BarredCall, CallResult, Handled, Record
from sagagen.runtime.service.barrier.rules import RunHandler
from sagagen.runtime.service.sqlite_store.db import SqliteDb


class TurnOwner(Protocol):
    """The writer, as a turn knows it."""

    def finish(self, turn: "WriterTurn", handled: Handled) -> None: ...

    def withdraw(self, turn: "WriterTurn") -> None: ...


@dataclass(eq=False, slots=True)
class WriterTurn:
    """One call, an OpenTurn of the port: it waits for its turn, is handled, and gets its result after the commit."""

    owner: TurnOwner
    call: BarredCall
    limit: asyncio.Timeout
    """Ends its handler. Without a time until the handler has held the writer for too long."""
    result: asyncio.Future[CallResult]
    offered: asyncio.Future[None] | None = None
    """Done when the call need not wait in line any more; None if it never waited."""
    db: SqliteDb = field(init=False)
    """From the beginning of the turn on, if the handler is to run."""
    decision: RunHandler = field(init=False)
    until_s: float = 0.0
    """When its handler must have ended, on the loop's clock: by itself, then once it is cancelled."""
    is_late: bool = False
    """The handler has held the writer for too long, and is cancelled."""
    settled: CallResult | None = None
    """The result, once the group is committed."""
    record: Record | None = None
    """What the barrier knows of the call once the group is committed."""
    decision_name: str = ""
    """The barrier's, in a word; a label's value."""
    begun_ns: int = 0
    """When its turn began, ns since the epoch."""

    def finish(self, handled: Handled) -> None:
        self.owner.finish(self, handled)

    def commit(self) -> Awaitable[CallResult]:
        return self.result

    def abandon(self) -> None:
        self.owner.withdraw(self)

    def resolve(self, result: CallResult) -> None:
        """The caller may know."""
        if self.offered and not self.offered.done():
            self.offered.set_result(None)
        if not self.result.done():
            self.result.set_result(result)


@dataclass(slots=True)
class Group:
    """The calls of one transaction, which has begun."""

    begun_s: float
    """On the clock that never jumps."""
    limit: int
    """Calls that it may take."""
    turns: list[WriterTurn] = field(default_factory=list[WriterTurn])
    error: Exception | None = None
    """What broke the transaction: nothing of it may be committed."""
