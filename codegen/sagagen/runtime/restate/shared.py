"""What gateways ask of a saga's workflow while it runs, and after: its rows, and to take an order."""

from sagagen.runtime.clock import Clock
from sagagen.runtime.engine.deliveries import RETRY_AFTER_S, was_kept_or_over
from sagagen.runtime.engine.port import CommandRejected, NotDelivered, OperatorCommand, Refusal
from sagagen.runtime.restate.batch import RowBatch
from sagagen.runtime.restate.invocation import Invocation, Refused
from sagagen.runtime.restate.orders import REPEATED, Order, order_from_bytes, refusal_to_bytes
from sagagen.runtime.restate.state import STATE, of_state
from sagagen.runtime.saga.commands import row_for
from sagagen.runtime.saga.definitions import Definitions
from sagagen.runtime.saga.history import fold
from sagagen.runtime.saga.journal import JournalUnavailable

ANSWERED_MS = 10_000
"""How long an order may take, in ms, until whoever brought it is told to look again."""


async def head(invocation: Invocation) -> bytes:
    """The saga as the workflow's state has it; empty if there is no such saga."""
    handle = invocation.get_state(STATE)
    await invocation.wait(handle)
    return invocation.take(handle) or b""


async def order(invocation: Invocation, definitions: Definitions, clock: Clock) -> bytes:
    """Hand an order to the saga. The answer is what came of it."""
    shown = await head(invocation)
    if not shown:
        unknown = NotDelivered(Refusal.UNKNOWN_SAGA, f"there is no saga {invocation.key}", RETRY_AFTER_S)
        return refusal_to_bytes(unknown)
    batch = of_state(shown)
    if batch.is_over:
        return _of_ended(batch, order_from_bytes(invocation.input), definitions, clock)
    number = await _its_turn(invocation, batch.orders)
    answer, too_late = invocation.promise(f"ordered-{number}"), invocation.sleep(ANSWERED_MS)
    await invocation.wait(answer, too_late)
    if invocation.has_come(answer):
        return invocation.take(answer) or b""
    return refusal_to_bytes(
        JournalUnavailable("the saga has not taken it yet: look, and send the same again")
    )


async def _its_turn(invocation: Invocation, number: int) -> int:
    """The number under which the order was handed over: others may have had those before."""
    while True:
        handle = invocation.resolve(f"order-{number}", invocation.input)
        await invocation.wait(handle)
        try:
            invocation.take(handle)
        except Refused:
            number += 1
        else:
            return number


def _of_ended(batch: RowBatch, order: Order, definitions: Definitions, clock: Clock) -> bytes:
    history = fold(batch.rows)
    saga = definitions.of(history.accepted)
    try:
        if isinstance(order, OperatorCommand):
            row_for(order, saga, history, max(clock.wall_ms(), history.updated_ms))
        else:
            was_kept_or_over(order, saga, history)
    except (CommandRejected, NotDelivered) as error:
        return refusal_to_bytes(error)
    return REPEATED
