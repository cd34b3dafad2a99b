"""How others reach a saga that runs, and learn of its result."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from sagagen.runtime.saga.commands import CommandRejected, OperatorCommand
from sagagen.runtime.saga.result import SagaResult


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
    tried: "asyncio.Future[None] | None" = None
    """Done once its next call has an answer; None where nobody waits for that."""
    is_stopping: bool = False
    """No new call begins; the saga stays as it is, and can be resumed."""

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

    def reject_commands(self, why: str) -> None:
        while self.commands:
            reject(self.commands.popleft()[1], CommandRejected(why))


def accept(done: "asyncio.Future[None]") -> None:
    if not done.done():  # whoever sent it may have left
        done.set_result(None)


def reject(done: "asyncio.Future[None]", refusal: CommandRejected) -> None:
    if not done.done():  # whoever sent it may have left
        done.set_exception(refusal)
