"""How others reach a saga that runs, and learn of its result."""

import asyncio
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sagagen.runtime.engine.port import Delivery
from sagagen.runtime.saga.commands import CommandRejected, OperatorCommand
from sagagen.runtime.saga.result import SagaResult

T = TypeVar("T")


class MailboxClosed(Exception):
    """The saga's task has ended before it took this."""


@dataclass(slots=True, eq=False)
class SagaMailbox:
    """What comes in is taken one thing at a time, between two decisions of the saga."""

    wake: asyncio.Event = field(default_factory=asyncio.Event)
    """Ends a wait: something has changed outside."""
    answered: asyncio.Future[SagaResult | None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    """The result, once it is durable; None if the saga stopped without one."""
    commands: "deque[tuple[OperatorCommand, asyncio.Future[None]]]" = field(default_factory=deque)
    """What operators want, each with the future that is done once it is durable."""
    deliveries: "deque[tuple[Delivery, asyncio.Future[bool]]]" = field(default_factory=deque)
    """Events and requests to cancel; each future says, once it is durable, whether it is new."""
    waiters: int = 0
    """How many wait for the result: a saga that only waits stays where it is as long as somebody does."""
    may_park: bool = False
    """The saga may have stayed for those who wait alone, and looks again when the last of them has left. Any other saga
    is not woken for it: that would begin its wait between two attempts anew."""
    tried: "asyncio.Future[None] | None" = None
    """Done once its next call has an answer; None where nobody waits for that."""
    is_closed: bool = False
    is_stopping: bool = False
    """No new call begins; the saga stays as it is, and can be resumed."""

    def has_mail(self) -> bool:
        """Something has to be taken in before the next call."""
        return self.is_stopping or bool(self.commands or self.deliveries)

    @contextmanager
    def waiting(self) -> Generator[None]:
        """While somebody waits for the result the saga stays, even if it only waits itself."""
        self.waiters += 1
        try:
            yield
        finally:
            self.waiters -= 1
            if self.may_park and not self.waiters:
                self.wake.set()

    def stop(self) -> None:
        self.is_stopping = True
        self.wake.set()

    def was_tried(self) -> None:
        if self.tried and not self.tried.done():
            self.tried.set_result(None)

    def answer(self, result: SagaResult | None) -> None:
        if not self.answered.done():
            self.answered.set_result(result)

    async def submit(self, command: OperatorCommand) -> None:
        """Have the saga carry out a command; it is durable when this returns. Raises CommandRejected."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.commands.append((command, done))
        self.wake.set()
        await done

    async def deliver(self, delivery: Delivery) -> bool:
        """Give the saga an event; it is durable when this returns. False if it had it before.

        Raises NotDelivered, or MailboxClosed.
        """
        if self.is_closed:
            raise MailboxClosed
        kept: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.deliveries.append((delivery, kept))
        self.wake.set()
        return await kept

    def close(self, why: str) -> None:
        """Nobody reads it any more."""
        self.is_closed = True
        self._refuse_commands(CommandRejected(why))
        self._refuse_deliveries(MailboxClosed())

    def refuse_all(self, error: Exception) -> None:
        """Raise it to all who wait for the saga to take in what they brought."""
        self._refuse_commands(error)
        self._refuse_deliveries(error)

    def _refuse_commands(self, error: Exception) -> None:
        while self.commands:
            reject(self.commands.popleft()[1], error)

    def _refuse_deliveries(self, error: Exception) -> None:
        while self.deliveries:
            reject(self.deliveries.popleft()[1], error)


def accept(done: "asyncio.Future[T]", result: T) -> None:
    if not done.done():  # whoever sent it may have left
        done.set_result(result)


def reject(done: "asyncio.Future[Any]", refusal: Exception) -> None:
    if not done.done():  # whoever sent it may have left
        done.set_exception(refusal)
