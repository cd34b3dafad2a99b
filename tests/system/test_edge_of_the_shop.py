"""The public side of the embedded shop: repeats, bad input, clients that hang up."""

import asyncio
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import urlsplit

import httpx
import pytest
from shop_invariants import assert_shop_is_consistent, await_all_orders_final, await_terminal
from stack import Stack, keyed, order_body, post_order
from waiting import eventually

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One embedded shop for the tests of this module; each uses keys of its own."""
    with closing(Stack(tmp_path_factory.mktemp("shop") / "var")) as stack:
        stack.start("up")
        yield stack


def counts(stack: Stack) -> tuple[int, int, int]:
    return (
        len(stack.rows("order", "SELECT 1 FROM orders")),
        len(stack.rows("payment", "SELECT 1 FROM payments")),
        len(stack.rows("inventory", "SELECT 1 FROM reservations")),
    )


def test_twenty_at_once_with_one_key_make_one_order(shop: Stack) -> None:
    def post(_: int) -> httpx.Response:
        return post_order(shop, "twenty")

    before = counts(shop)[0]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(post, range(20)))
    created = [answer for answer in answers if answer.status_code == 201]
    conflicts = [answer for answer in answers if answer.status_code == 409]
    assert created
    assert len(created) + len(conflicts) == 20
    assert all("retry-after" in answer.headers for answer in conflicts)
    assert len({answer.json()["order_id"] for answer in created}) == 1
    await_terminal(shop, [created[0].json()["order_id"]])
    again = post(0)
    assert again.status_code == 201
    assert again.content == created[0].content
    assert again.headers["idempotency-replayed"] == "true"
    assert counts(shop)[0] == before + 1


def test_the_same_key_with_another_order_is_refused(shop: Stack) -> None:
    post_order(shop, "other", 10)
    answer = post_order(shop, "other", 11)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


def item(**changes: object) -> str:
    return json.dumps(
        {"customer_id": "c", "items": [{"product_id": "prod_1", "quantity": 1, "price": 5.0} | changes]}
    )


BAD_BODIES = {
    "broken JSON": ('{"customer_id": ', ""),
    "not an object": ("[1, 2]", ""),
    "wrong type": (item(quantity="many"), "quantity"),
    "unknown field": (item(colour="red"), "colour"),
    "missing customer": (
        json.dumps({"items": [{"product_id": "prod_1", "quantity": 1, "price": 5.0}]}),
        "customer_id",
    ),
    "no items": (json.dumps({"customer_id": "c", "items": []}), "items"),
    "negative quantity": (item(quantity=-1), "quantity"),
    "zero quantity": (item(quantity=0), "quantity"),
    "fractional quantity": (item(quantity=1.5), "quantity"),
    "quantity beyond int32": (item(quantity=3_000_000_000), "quantity"),
    "huge price": (item(price=1e308), "price"),
    "price beyond double": (item().replace("5.0", "1e999"), "price"),
    "NaN": (item().replace("5.0", "NaN"), "price"),
    "quoted NaN": (item(price="NaN"), "price"),
    "a price that rounds to nothing": (item(price=0.004), "price"),
    "negative price": (item(price=-5.0), "price"),
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_bad_input_is_answered_clearly_and_changes_nothing(shop: Stack, case: str) -> None:
    body, named = BAD_BODIES[case]
    await_all_orders_final(shop)  # those of other tests
    before = counts(shop)
    answer = shop.http.post(
        "/orders",
        content=body,
        headers={**keyed(f"bad-{case.replace(' ', '-')}"), "content-type": "application/json"},
    )
    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert named in answer.text
    assert counts(shop) == before


def test_a_missing_key_is_named(shop: Stack) -> None:
    answer = shop.http.post("/orders", json=order_body())
    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.text


def test_a_body_of_ten_megabytes_is_refused(shop: Stack) -> None:
    answer = shop.http.post("/orders", content=b" " * 10_000_000, headers=keyed("big"))
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"


def test_an_unknown_route_and_a_wrong_method_are_problem_documents(shop: Stack) -> None:
    unknown = shop.http.get("/nothing/here")
    assert (unknown.status_code, unknown.headers["content-type"]) == (404, "application/problem+json")
    wrong = shop.http.delete("/orders")
    assert (wrong.status_code, wrong.headers["content-type"]) == (405, "application/problem+json")
    assert wrong.headers["allow"] == "POST"


def test_an_order_that_does_not_exist_is_not_found(shop: Stack) -> None:
    answer = shop.http.get("/orders/none")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_one_product_on_several_lines_is_summed_before_stock_is_checked(shop: Stack) -> None:
    line = {"product_id": "prod_2", "quantity": 600, "price": 0.01}
    body = {"customer_id": "c", "items": [line, line]}
    answer = shop.http.post("/orders", json=body, headers=keyed("several lines"))
    await_terminal(shop, [answer.json()["order_id"]])
    order = shop.http.get(f"/orders/{answer.json()['order_id']}").json()
    assert (order["status"], order["cancel_reason"]) == ("CANCELLED", "INSUFFICIENT_STOCK")


async def hang_up_after_sending(host: str, port: int, number: int) -> None:
    body = json.dumps(order_body()).encode()
    head = (
        f"POST /orders HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\n"
        f"X-Idempotency-Key: gone-{number}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    _, writer = await asyncio.open_connection(host, port)
    writer.write(head.encode() + body)
    await writer.drain()
    writer.transport.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
    )
    writer.transport.abort()


async def test_orders_of_clients_that_hang_up_reach_their_end(shop: Stack) -> None:
    where = urlsplit(shop.url)
    assert where.hostname
    assert where.port
    for batch in range(10):
        async with asyncio.TaskGroup() as group:
            for number in range(30):
                group.create_task(hang_up_after_sending(where.hostname, where.port, batch * 30 + number))
    # An order after the last of them: what those clients began is taken up before it.
    placed = eventually(
        "room for one more order",
        lambda: post_order(shop, "after all"),
        lambda answer: answer.status_code == 201,
    )
    await_terminal(shop, [placed.json()["order_id"]])
    await_all_orders_final(shop)
    assert_shop_is_consistent(shop)
