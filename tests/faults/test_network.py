"""What the network does to calls: answers lost after the work is done, answers that come too late."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from placing_orders import assert_all_ended_well, place
from shop_invariants import CONFIRMED
from stack import Stack
from tcp_proxy import Proxy, Replies, proxy_to
from waiting import eventually_async

pytestmark = pytest.mark.slow
COUNT = 20


async def _on_a_bad_line(proxy: Proxy, placing: Coroutine[Any, Any, list[str]]) -> list[str]:
    """Place orders, and let answers through again once several were tampered with."""
    orders = asyncio.create_task(placing)
    await eventually_async("3 answers to be tampered with", lambda: proxy.tampered, lambda count: count >= 3)
    proxy.replies = Replies.PASS
    return await orders


@pytest.mark.parametrize(
    ("service", "replies"),
    [("order", Replies.DROP), ("payment", Replies.DELAY)],
    ids=["lost by the first step", "too late for a later one"],
)
async def test_answers_that_never_come_cost_time_and_no_effect(
    patient_shop: Stack, service: str, replies: Replies
) -> None:
    stack = patient_shop
    with proxy_to(stack.listens(service)) as proxy:
        stack.reached[service] = proxy.port
        stack.start_each()
        proxy.replies = replies
        saga_ids = await _on_a_bad_line(proxy, place(stack, COUNT, replies))
        assert len(saga_ids) == COUNT
        assert_all_ended_well(stack, saga_ids)
    confirmed = stack.rows("order", f"SELECT 1 FROM orders WHERE status = {CONFIRMED}")
    assert len(confirmed) == COUNT - COUNT // 5
