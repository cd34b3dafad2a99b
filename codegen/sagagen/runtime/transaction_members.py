"""Calls on their way through the writer: each waits for its turn, is handled, and is told its outcome."""

import asyncio
from dataclasses import dataclass, field
from typing import NamedTuple

from grpclib.const import Status as Code

from sagagen.runtime.barrier import Record, RunHandler
from sagagen.runtime.call import Db
from sagagen.runtime.errors import RpcError
from sagagen.runtime.transaction_hops import Handled, Outcome, Write


def unavailable(message: str) -> Outcome:
    return Outcome(error=RpcError(Code.UNAVAILABLE, message))


class Turn(NamedTuple):
    """A call's time in the writer."""

    db: Db
    """The transaction for its handler to work in."""
    ruling: RunHandler


@dataclass(eq=False, slots=True)
class Member:
    """One call on its way: waits for its `turn`, is `handled`, is told its `outcome`."""

    write: Write
    turn: asyncio.Future[Turn | None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    """None if no handler is to run."""
    handled: asyncio.Future[Handled] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    outcome: asyncio.Future[Outcome] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    settled: Outcome | None = None
    """What is told once the group is committed."""
    record: Record | None = None
    """What the barrier knows of the call once the group is committed."""
    decision: str = ""
    """The barrier's, in a word."""
    begun_ns: int = 0
    """When its turn came, ns since the epoch."""

    def finish(self, handled: Handled) -> None:
        if not self.handled.done():
            self.handled.set_result(handled)

    def abandon(self) -> None:
        """Its rpc was cancelled, or its handler does not end: nothing is kept."""
        if not self.handled.done():
            self.finish(Handled(unavailable("the call was abandoned")))

    def tell(self, outcome: Outcome) -> None:
        if not self.turn.done():
            self.turn.set_result(None)
        if not self.outcome.done():
            self.outcome.set_result(outcome)


@dataclass(slots=True)
class Group:
    """The calls of one transaction."""

    begun_s: float
    limit: int
    members: list[Member] = field(default_factory=list[Member])
