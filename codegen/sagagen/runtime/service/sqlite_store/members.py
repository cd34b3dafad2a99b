"""Calls on their way through a service's writer, and the group that is committed as one."""

import asyncio
from dataclasses import dataclass, field
from typing import NamedTuple

from grpclib.const import Status as Code

from sagagen.runtime.rpc.errors import RpcError
from sagagen.runtime.service.barrier.rules import RunHandler
from sagagen.runtime.service.call import Db
from sagagen.runtime.service.sqlite_store.guard import Guard
from sagagen.runtime.service.sqlite_store.steps import BarredCall, CallResult
from sagagen.runtime.service.sqlite_store.table import Record
from sagagen.runtime.sqlite.database import Database


def unavailable(message: str) -> CallResult:
    return CallResult(error=RpcError(Code.UNAVAILABLE, message))


class Turn(NamedTuple):
    """A call's time in the writer."""

    db: Db
    """The transaction for its handler to work in."""
    ruling: RunHandler


@dataclass(eq=False, slots=True)
class Member:
    """One call: it waits for its turn, is handled in it, and is told its outcome once that is committed."""

    write: BarredCall
    limit: asyncio.Timeout
    """Ends its handler. Without a time until the handler has held the writer for too long."""
    outcome: asyncio.Future[CallResult] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    turn: asyncio.Future[None] | None = None
    """While it waits in line."""
    db: Db | None = None
    """What its handler works in, from its turn on."""
    begun_s: float = 0.0
    """When its handler got its turn, on the loop's clock."""
    settled: CallResult | None = None
    """What is told once the group is committed."""
    record: Record | None = None
    """What the barrier knows of the call once the group is committed."""
    decision: str = ""
    """The barrier's, in a word."""
    begun_ns: int = 0
    """When its turn came, ns since the epoch."""

    def tell(self, outcome: CallResult) -> None:
        if self.turn and not self.turn.done():
            self.turn.set_result(None)
        if not self.outcome.done():
            self.outcome.set_result(outcome)


@dataclass(slots=True)
class Group:
    """The calls of one transaction, which has begun."""

    database: Database
    guard: Guard
    purged_through_ms: int
    begun_s: float
    """On the clock that never jumps."""
    limit: int
    members: list[Member] = field(default_factory=list[Member])
    error: Exception | None = None
    """What broke the transaction: nothing of it may be committed."""
