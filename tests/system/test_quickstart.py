"""What a newcomer sees: the README's two curl lines, typed at a running stack."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from curl_lines import await_status, readme_curls, type_in
from shop_invariants import assert_shop_is_consistent, await_terminal
from stack import Stack

pytestmark = pytest.mark.slow


@pytest.fixture(params=["up", "mesh"])
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stack]:
    with closing(Stack(tmp_path / "var")) as stack:
        stack.start(request.param)
        yield stack


def test_the_two_lines_of_the_readme_confirm_one_order_and_cancel_the_other(running: Stack) -> None:
    good, bad = readme_curls()

    status, order = type_in(good, running.url)
    assert (status, order["status"]) == (201, "PENDING")
    confirmed = await_status(running.url, order["order_id"], "CONFIRMED")
    assert confirmed["total_minor"] == "5000"
    assert "cancel_reason" not in confirmed

    before = running.http.get("/products/prod_1/stock").json()
    status, order = type_in(bad, running.url)
    assert (status, order["status"]) == (201, "PENDING")
    cancelled = await_status(running.url, order["order_id"], "CANCELLED")
    assert cancelled["cancel_reason"] == "PAYMENT_LIMIT_EXCEEDED"
    assert running.http.get("/products/prod_1/stock").json() == before

    await_terminal(running, [order["order_id"]])
    saga = running.http.get(f"/sagas/{order['order_id']}").json()
    assert saga["status"] == "COMPENSATED"
    assert [step["name"] for step in saga["steps"]] == [
        "create_order", "reserve_stock", "charge_payment", "confirm_order"
    ]  # fmt: skip
    assert_shop_is_consistent(running)


def test_the_same_line_again_gives_the_same_order_and_no_second_one(running: Stack) -> None:
    good, _ = readme_curls()
    first = type_in(good, running.url)
    await_terminal(running, [first[1]["order_id"]])
    assert type_in(good, running.url) == first
    assert len(running.rows("order", "SELECT 1 FROM orders")) == 1
