"""What must hold in the shop whatever happened, read straight from the services' databases."""

import operator
from collections.abc import Iterable

from stack import Stack
from waiting import eventually

PENDING, CONFIRMED, CANCELLED = 1, 2, 3
INITIAL_STOCK = 1000
TERMINAL = {"COMPLETED", "COMPENSATED", "SUPERSEDED"}


def await_terminal(stack: Stack, saga_ids: Iterable[str]) -> dict[str, str]:
    """Wait until each saga has ended. Returns their statuses."""
    statuses = dict.fromkeys(saga_ids, "")

    def still_open() -> list[str]:
        for saga_id in [saga_id for saga_id, status in statuses.items() if status not in TERMINAL]:
            statuses[saga_id] = stack.http.get(f"/sagas/{saga_id}").json()["status"]
        return [f"{saga_id} {status}" for saga_id, status in statuses.items() if status not in TERMINAL]

    eventually("each saga to end", still_open, operator.not_)
    return statuses


def await_all_orders_final(stack: Stack) -> None:
    """Wait until no order is PENDING any more."""
    pending = f"SELECT order_id FROM orders WHERE status = {PENDING}"
    eventually("no order to be pending", lambda: len(stack.rows("order", pending)), operator.not_)


def assert_shop_is_consistent(stack: Stack) -> None:
    """Stock adds up; confirmed orders are charged exactly once and keep their stock; cancelled ones neither."""
    orders = {row["order_id"]: row for row in stack.rows("order", "SELECT * FROM orders")}
    charged = {row["order_id"]: row for row in stack.rows("payment", "SELECT * FROM payments")}
    reserved = {
        row["order_id"] for row in stack.rows("inventory", "SELECT DISTINCT order_id FROM reservations")
    }
    confirmed = {order_id for order_id, row in orders.items() if row["status"] == CONFIRMED}
    cancelled = {order_id for order_id, row in orders.items() if row["status"] == CANCELLED}

    assert confirmed | cancelled == set(orders), "an order is neither confirmed nor cancelled"
    assert reserved == confirmed
    assert confirmed == {order_id for order_id, row in charged.items() if row["status"] == "CHARGED"}
    assert all(charged[order_id]["amount_minor"] == orders[order_id]["total_minor"] for order_id in confirmed)
    for row in stack.rows("inventory", "SELECT * FROM stock"):
        assert row["available"] + row["reserved"] == INITIAL_STOCK, dict(row)
    wanted = stack.rows("inventory", "SELECT coalesce(sum(quantity), 0) AS quantity FROM reservations")
    held = stack.rows("inventory", "SELECT sum(reserved) AS quantity FROM stock")
    assert wanted[0]["quantity"] == held[0]["quantity"]
