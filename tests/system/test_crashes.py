"""kill -9 with many sagas under way, and a restart: all end, and no effect is there twice."""

import asyncio
import random

import pytest
from placing_orders import assert_all_ended_well, place
from shop_invariants import await_terminal
from stack import Stack
from thorough import TRIES_ALL, chosen

pytestmark = pytest.mark.slow
COUNT = 200 if TRIES_ALL else 60
ROUNDS = 3 if TRIES_ALL else 1


async def test_the_single_process_is_killed_with_many_sagas_under_way(stack: Stack) -> None:
    stack.start("up")
    with stack.holding_writes("payment"):
        saga_ids = await place(stack, COUNT, "single")
        stack.kill("up")
    assert len(saga_ids) == COUNT
    stack.start("up")
    assert_all_ended_well(stack, saga_ids)


async def test_the_gateway_is_killed_with_many_sagas_under_way(stack: Stack) -> None:
    stack.start_each()
    with stack.holding_writes("payment"):
        saga_ids = await place(stack, COUNT, "gateway")
        stack.kill("gateway")
    assert len(saga_ids) == COUNT
    stack.start("gateway")
    assert_all_ended_well(stack, saga_ids)


@pytest.mark.parametrize("service", chosen(["payment", "order", "inventory"], first=1))
async def test_a_service_is_killed_with_many_sagas_under_way(stack: Stack, service: str) -> None:
    stack.start_each()
    blocked = "payment" if service == "order" else service
    with stack.holding_writes(blocked):
        saga_ids = await place(stack, COUNT, service)
        stack.kill(service)
    assert len(saga_ids) == COUNT
    stack.start(service)
    assert_all_ended_well(stack, saga_ids)


async def test_everything_is_killed_at_random_moments(stack: Stack) -> None:
    stack.start_each()
    everyone = [*stack.services, "gateway"]
    saga_ids: list[str] = []
    for round_number in range(ROUNDS):
        placing = asyncio.create_task(place(stack, 60, f"round-{round_number}"))
        await asyncio.sleep(random.uniform(0.05, 0.6))
        stack.kill(*everyone)
        saga_ids += await placing
        stack.start(*everyone)
    ended = await_terminal(stack, saga_ids)
    assert len(ended) == len(saga_ids)
    # Orders whose acceptance was never answered end as well: sending them again tells how.
    for round_number in range(ROUNDS):
        saga_ids += await place(stack, 60, f"round-{round_number}")
    assert_all_ended_well(stack, sorted(set(saga_ids)))
