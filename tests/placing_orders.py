"""A load of orders, some of them to be declined."""

import asyncio

import httpx
from shop_invariants import assert_shop_is_consistent, await_terminal
from stack import Stack, keyed, order_body
from waiting import LIMIT_S

DECLINED_PRICE = 600.0
TRIES = 30
"""How often an order is sent that is refused, as 503 says: on a busy machine so many at once are too many."""


async def place(stack: Stack, count: int, prefix: str, *, url: str = "", tries: int = TRIES) -> list[str]:
    """Start sagas, one in five to be declined. Returns the ids of those whose acceptance was answered."""
    limits = httpx.Limits(max_connections=50)
    async with httpx.AsyncClient(base_url=url or stack.url, limits=limits, timeout=LIMIT_S) as client:

        async def one(number: int) -> str | None:
            price = DECLINED_PRICE if number % 5 == 0 else 0.5 + number / 100
            key = keyed(f"{prefix}-{number}")
            try:
                answer = await client.post("/orders", json=order_body(price), headers=key)
                for _ in range(tries):
                    if answer.status_code != 503:
                        break
                    await asyncio.sleep(int(answer.headers["retry-after"]))
                    answer = await client.post("/orders", json=order_body(price), headers=key)
            except httpx.TransportError:
                return None  # killed before it could answer
            assert answer.status_code in (201, 202, 409, 502, 503), answer.text
            body = answer.json()
            return body.get("order_id") or body.get("id") or body.get("saga_id")

        answers = await asyncio.gather(*(one(number) for number in range(count)))
    return [saga_id for saga_id in answers if saga_id]


def assert_all_ended_well(stack: Stack, saga_ids: list[str]) -> None:
    ended = await_terminal(stack, saga_ids)
    assert len(ended) == len(saga_ids)
    assert_shop_is_consistent(stack)
