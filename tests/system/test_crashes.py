"""kill -9 with 200 sagas under way, and a restart: all end, and no effect is there twice."""

import asyncio
import random

import httpx
import pytest
from shop_invariants import assert_shop_is_consistent, await_terminal
from stack import Stack, keyed, order_body

pytestmark = pytest.mark.slow
COUNT = 200
DECLINED_PRICE = 600.0


async def place(stack: Stack, count: int, prefix: str) -> list[str]:
    """Start sagas, one in five to be declined. Returns the ids of those whose acceptance was answered."""
    limits = httpx.Limits(max_connections=50)
    async with httpx.AsyncClient(base_url=stack.url, limits=limits, timeout=60) as client:

        async def one(number: int) -> str | None:
            price = DECLINED_PRICE if number % 5 == 0 else 0.5 + number / 100
            try:
                answer = await client.post(
                    "/orders", json=order_body(price), headers=keyed(f"{prefix}-{number}")
                )
            except httpx.TransportError:
                return None  # killed before it could answer
            assert answer.status_code in (201, 202, 502, 503), answer.text
            return answer.json().get("order_id") if answer.status_code == 201 else None

        answers = await asyncio.gather(*(one(number) for number in range(count)))
    return [saga_id for saga_id in answers if saga_id]


def assert_all_ended_well(stack: Stack, saga_ids: list[str]) -> None:
    ended = await_terminal(stack, saga_ids, within_s=60)
    assert len(ended) == len(saga_ids)
    assert_shop_is_consistent(stack)


async def test_the_single_process_is_killed_with_200_sagas_under_way(stack: Stack) -> None:
    stack.start("up")
    with stack.holding_writes("payment"):
        saga_ids = await place(stack, COUNT, "single")
        stack.kill("up")
    assert len(saga_ids) == COUNT
    stack.start("up")
    assert_all_ended_well(stack, saga_ids)


async def test_the_gateway_is_killed_with_200_sagas_under_way(stack: Stack) -> None:
    stack.start_each()
    with stack.holding_writes("payment"):
        saga_ids = await place(stack, COUNT, "gateway")
        stack.kill("gateway")
    assert len(saga_ids) == COUNT
    stack.start("gateway")
    assert_all_ended_well(stack, saga_ids)


@pytest.mark.parametrize("service", ["order", "inventory", "payment"])
async def test_a_service_is_killed_with_200_sagas_under_way(stack: Stack, service: str) -> None:
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
    for round_number in range(3):
        placing = asyncio.create_task(place(stack, 60, f"round-{round_number}"))
        await asyncio.sleep(random.uniform(0.05, 0.6))
        stack.kill(*everyone)
        saga_ids += await placing
        stack.start(*everyone)
    ended = await_terminal(stack, saga_ids, within_s=60)
    assert len(ended) == len(saga_ids)
    # Orders whose acceptance was never answered end as well: sending them again tells how.
    for round_number in range(3):
        saga_ids += await place(stack, 60, f"round-{round_number}")
    assert_all_ended_well(stack, sorted(set(saga_ids)))
