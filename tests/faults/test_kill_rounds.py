"""kill -9 at random moments, round after round. SAGAGEN_FAULT_ROUNDS=20 runs as many as a release should see."""

import asyncio
import random

import pytest
from placing_orders import assert_all_ended_well, place
from stack import Stack
from thorough import FAULT_ROUNDS
from waiting import LIMIT_S

pytestmark = pytest.mark.slow
COUNT = 100 if FAULT_ROUNDS > 1 else 40


VICTIMS = [
    ("gateway",),
    ("order",),
    ("inventory",),
    ("payment",),
    ("gateway", "order", "inventory", "payment"),
]


@pytest.mark.parametrize("victims", VICTIMS if FAULT_ROUNDS > 1 else VICTIMS[-1:], ids="+".join)
async def test_kill_at_random_moments(stack: Stack, victims: tuple[str, ...]) -> None:
    stack.start_each()
    for number in range(FAULT_ROUNDS):
        prefix = f"round-{number}"
        placing = asyncio.create_task(place(stack, COUNT, prefix))
        await asyncio.sleep(random.uniform(0.1, 1.5))
        stack.kill(*victims)
        stack.start(*victims)
        await placing
        # The same keys again: whatever was accepted is one and the same saga.
        saga_ids = await _all_accepted(stack, prefix)
        assert_all_ended_well(stack, saga_ids)


async def _all_accepted(stack: Stack, prefix: str) -> list[str]:
    async with asyncio.timeout(LIMIT_S):
        saga_ids: list[str] = []
        while len(saga_ids) < COUNT:
            saga_ids = await place(stack, COUNT, prefix)
    return saga_ids
