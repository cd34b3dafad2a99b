"""Two gateways with logs of their own and the same keys: one run of each saga has effects, the other is superseded."""

import asyncio
from pathlib import Path

import httpx
import pytest
from placing_orders import place
from shop_invariants import assert_shop_is_consistent, await_all_orders_final
from stack import Stack, keyed, order_body

pytestmark = pytest.mark.slow
COUNT = 20


async def test_two_gateways_with_one_key_make_one_set_of_effects(stack: Stack, tmp_path: Path) -> None:
    stack.start_each()
    other = Stack(tmp_path / "other")
    other.reached = {service: stack.listens(service) for service in stack.services}
    try:
        other.start("gateway")
        ours, theirs = await asyncio.gather(
            place(stack, COUNT, "twice"), place(stack, COUNT, "twice", url=other.url)
        )
        assert set(ours) | set(theirs)
        await_all_orders_final(stack)
        statuses = [_status(each, saga_id) for each in (stack, other) for saga_id in {*ours, *theirs}]
        assert statuses.count("SUPERSEDED") == COUNT
        assert_shop_is_consistent(stack)
        assert len(stack.rows("order", "SELECT 1 FROM orders")) == COUNT
    finally:
        other.close()


async def test_the_superseded_gateway_says_where_the_saga_is(stack: Stack, tmp_path: Path) -> None:
    stack.start_each()
    other = Stack(tmp_path / "other")
    other.reached = {service: stack.listens(service) for service in stack.services}
    try:
        other.start("gateway")
        first = httpx.post(f"{stack.url}/orders", json=order_body(), headers=keyed("one"), timeout=20)
        assert first.status_code == 201
        same = httpx.post(f"{other.url}/orders", json=order_body(), headers=keyed("one"), timeout=20)
        assert (same.status_code, same.json()["reason"]) == (409, "SAGA_ELSEWHERE")
        httpx.post(f"{stack.url}/orders", json=order_body(), headers=keyed("two"), timeout=20)
        differs = httpx.post(f"{other.url}/orders", json=order_body(7.0), headers=keyed("two"), timeout=20)
        assert differs.status_code == 422
    finally:
        other.close()


def _status(stack: Stack, saga_id: str) -> str:
    answer = httpx.get(f"{stack.url}/sagas/{saga_id}")
    return str(answer.json().get("status"))
