"""Two gateways with logs of their own and the same keys: one run of each saga has effects, the other is superseded."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from placing_orders import place
from redis_server import RedisServer
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


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path) as server:
        yield server


async def test_gateways_that_share_answers_repeat_each_others(
    stack: Stack, tmp_path: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGAGEN_REDIS_URL", redis.url)
    monkeypatch.setenv("SAGAGEN_SHARE_ANSWERS", "1")
    stack.start_each()
    other = Stack(tmp_path / "other")
    other.reached = {service: stack.listens(service) for service in stack.services}
    other.start("gateway")
    try:
        for price in (5.0, 900.0):  # one is charged, the other declined
            body, headers = order_body(price), keyed(f"price-{price}")
            first = httpx.post(f"{stack.url}/orders", json=body, headers=headers, timeout=20)
            for _ in range(2):  # the second time from the other's own log
                same = _when_shared(other, body, headers)
                assert (same.status_code, same.content) == (first.status_code, first.content)
                assert same.headers["idempotency-replayed"] == "true"
                assert same.headers["traceparent"].split("-")[1] == first.headers["traceparent"].split("-")[1]
            differs = httpx.post(f"{other.url}/orders", json=order_body(7.0), headers=headers, timeout=20)
            assert (differs.status_code, differs.json()["reason"]) == (422, "IDEMPOTENCY_KEY_REUSED")
        other.kill("gateway")
        other.start("gateway")
        body, headers = order_body(5.0), keyed("price-5.0")
        assert _when_shared(other, body, headers).status_code == 201
        redis.kill()
        lost = httpx.post(f"{other.url}/orders", json=body, headers=headers, timeout=20)
        assert (lost.status_code, lost.json()["reason"]) == (409, "SAGA_ELSEWHERE")
        assert lost.headers["retry-after"] == "1"
        await_all_orders_final(stack)
        assert_shop_is_consistent(stack)
        assert len(stack.rows("order", "SELECT 1 FROM orders")) == 2
    finally:
        other.close()


async def test_an_answer_of_a_run_that_owns_nothing_is_never_repeated(
    stack: Stack, tmp_path: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The services' databases begin anew, Redis and its answers stay: as if it belonged to another environment."""
    monkeypatch.setenv("SAGAGEN_REDIS_URL", redis.url)
    monkeypatch.setenv("SAGAGEN_SHARE_ANSWERS", "1")
    stack.start_each()
    before = httpx.post(f"{stack.url}/orders", json=order_body(), headers=keyed("again"), timeout=20)
    assert before.status_code == 201
    other = Stack(tmp_path / "other")
    try:
        other.start_each()
        anew = httpx.post(f"{other.url}/orders", json=order_body(), headers=keyed("again"), timeout=20)
        assert anew.status_code == 201
        assert "idempotency-replayed" not in anew.headers
        assert anew.json() != before.json() or anew.headers["traceparent"] != before.headers["traceparent"]
        await_all_orders_final(other)
        assert_shop_is_consistent(other)
        assert len(other.rows("order", "SELECT 1 FROM orders")) == 1
    finally:
        other.close()


def _when_shared(stack: Stack, body: Mapping[str, object], headers: Mapping[str, str]) -> httpx.Response:
    """The answer once it is not SAGA_ELSEWHERE any more: it reaches Redis a moment after it left the first gateway."""
    until = time.monotonic() + 5
    while True:
        answer = httpx.post(f"{stack.url}/orders", json=body, headers=dict(headers), timeout=20)
        if answer.status_code != 409 or answer.json()["reason"] != "SAGA_ELSEWHERE":
            return answer
        assert time.monotonic() < until, answer.text
        time.sleep(0.05)


def _status(stack: Stack, saga_id: str) -> str:
    answer = httpx.get(f"{stack.url}/sagas/{saga_id}")
    return str(answer.json().get("status"))
