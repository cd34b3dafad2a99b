"""Asking the gateway that drives a saga, through the log that it shares with whoever asks."""

import asyncio
from typing import Protocol

from sagagen.runtime.engine.at_rest import SagasAtRest
from sagagen.runtime.engine.letters import command_letter, delivery_letter, read_answer
from sagagen.runtime.engine.log_port import LettersInLog, SagasInLog
from sagagen.runtime.engine.port import Delivered, Delivery
from sagagen.runtime.saga.commands import OperatorCommand, UnknownSaga
from sagagen.runtime.saga.definitions import Definitions
from sagagen.runtime.saga.journal import JournalUnavailable

ASK_S = 10.0
"""Time in seconds that another gateway has to answer."""
LOOK_FROM_S, LOOK_UP_TO_S = 0.01, 0.1
"""How often its answer is looked for: more and more rarely."""
NOBODY = (
    "no gateway has answered that drives the saga: look whether one runs, and whether it was done; then send the same "
    "again"
)


async def ask(log: LettersInLog, saga_id: str, body: bytes) -> Delivered | None:
    """Have the gateway that drives the saga do it. Raises what it raises, UnknownSaga, or JournalUnavailable."""
    letter_id = await log.post(saga_id, body, ASK_S)
    if letter_id is None:
        raise UnknownSaga(saga_id)
    try:
        async with asyncio.timeout(ASK_S):
            return read_answer(await _answered(log, letter_id))
    except TimeoutError:
        raise JournalUnavailable(NOBODY) from None
    finally:
        await log.forget_letter(letter_id)


async def _answered(log: LettersInLog, letter_id: int) -> bytes:
    look_s = LOOK_FROM_S
    while True:
        await asyncio.sleep(look_s)
        if found := await log.replies([letter_id]):
            return found[letter_id]
        look_s = min(LOOK_UP_TO_S, look_s * 1.5)


class AskableLog(SagasInLog, LettersInLog, Protocol):
    """A log beside which gateways may run."""


class SagasBeside(SagasAtRest):
    """Implements `SagaControl` beside the gateways of a shared log: what is commanded they do."""

    def __init__(self, log: AskableLog, definitions: Definitions) -> None:
        super().__init__(log, definitions)
        self._askable = log

    async def command(self, saga_id: str, command: OperatorCommand) -> None:
        """As SagaControl says; by the gateway that drives the saga."""
        await ask(self._askable, saga_id, command_letter(saga_id, command))

    async def deliver(self, delivery: Delivery) -> Delivered:
        """As SagaRuntime says; by the gateway that drives the saga."""
        delivered = await ask(self._askable, delivery.saga_id, delivery_letter(delivery))
        assert isinstance(delivered, Delivered), "a delivery is answered by one"
        return delivered
