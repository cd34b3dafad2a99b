"""Two gateways with logs of their own and the same keys: one run of each saga has effects, the other is superseded."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from placing_orders import place
from redis_server import RedisServer
from shop_invariants import assert_shop_is_consistent, await_all_orders_final
from stack import Stack, post_order
from waiting import eventually

pytestmark = pytest.mark.slow
COUNT = 20


@pytest.fixture
def other(stack: Stack, tmp_path: Path) -> Iterator[Stack]:
    """A second gateway, not started yet: a log of its own, and the services of `stack`."""
    with closing(Stack(tmp_path / "other")) as other:
        other.reached = {service: stack.listens(service) for service in stack.services}
        yield other


@pytest.fixture
def sharing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RedisServer]:
    """A Redis through which gateways share their answers."""
    with RedisServer(tmp_path) as redis:
        monkeypatch.setenv("SAGAGEN_REDIS_URL", redis.url)
        monkeypatch.setenv("SAGAGEN_SHARE_ANSWERS", "1")
        monkeypatch.setenv("SAGAGEN_SHARE_ANSWERS_KEY", "the same secret of thirty-two bytes")
        yield redis


async def test_two_gateways_with_one_key_make_one_set_of_effects(stack: Stack, other: Stack) -> None:
    stack.start_each()
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


def test_the_superseded_gateway_says_that_the_saga_is_elsewhere(stack: Stack, other: Stack) -> None:
    stack.start_each()
    other.start("gateway")
    assert post_order(stack, "one").status_code == 201
    for _ in range(2):
        same = post_order(other, "one")
        assert (same.status_code, same.json()["reason"]) == (409, "SAGA_ELSEWHERE")
        assert "retry-after" not in same.headers, "it stays so: nothing is shared here"
    post_order(stack, "two")
    assert post_order(other, "two", 7.0).status_code == 422


def test_gateways_that_share_answers_repeat_each_others(
    stack: Stack, other: Stack, sharing: RedisServer
) -> None:
    stack.start_each()
    other.start("gateway")
    for key, price in (("charged", 5.0), ("declined", 900.0)):
        first = post_order(stack, key, price)
        for _ in range(2):  # the second time from the other's own log
            same = _when_shared(other, key, price)
            assert (same.status_code, same.content) == (first.status_code, first.content)
            assert same.headers["idempotency-replayed"] == "true"
            assert _trace_id(same) == _trace_id(first)
        differs = post_order(other, key, 7.0)
        assert (differs.status_code, differs.json()["reason"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    other.kill("gateway")
    other.start("gateway")
    assert _when_shared(other, "charged", 5.0).status_code == 201
    sharing.kill()
    lost = post_order(other, "charged", 5.0)
    assert (lost.status_code, lost.json()["reason"]) == (409, "SAGA_ELSEWHERE")
    assert lost.headers["retry-after"] == "1"
    await_all_orders_final(stack)
    assert_shop_is_consistent(stack)
    assert len(stack.rows("order", "SELECT 1 FROM orders")) == 2


@pytest.mark.usefixtures("sharing")
def test_an_answer_of_a_run_that_owns_nothing_is_never_repeated(stack: Stack, tmp_path: Path) -> None:
    """The services' databases begin anew, Redis and its answers stay: as if it belonged to another environment."""
    stack.start_each()
    before = post_order(stack, "again")
    assert before.status_code == 201
    with closing(Stack(tmp_path / "anew")) as elsewhere:
        elsewhere.start_each()
        anew = post_order(elsewhere, "again")
        assert anew.status_code == 201
        assert "idempotency-replayed" not in anew.headers
        assert _trace_id(anew) != _trace_id(before)
        await_all_orders_final(elsewhere)
        assert_shop_is_consistent(elsewhere)
        assert len(elsewhere.rows("order", "SELECT 1 FROM orders")) == 1


def _trace_id(answer: httpx.Response) -> str:
    return answer.headers["traceparent"].split("-")[1]


def _when_shared(stack: Stack, key: str, price: float) -> httpx.Response:
    """The answer once it is not SAGA_ELSEWHERE any more: it reaches Redis a moment after it left the first gateway."""
    return eventually(
        "the other gateway's answer",
        lambda: post_order(stack, key, price),
        lambda answer: answer.status_code != 409 or answer.json()["reason"] != "SAGA_ELSEWHERE",
    )


def _status(stack: Stack, saga_id: str) -> str:
    return str(stack.http.get(f"/sagas/{saga_id}").json().get("status"))
