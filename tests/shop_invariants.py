"""What must hold in the shop whatever happened, read straight from the services' databases."""

import time
from collections.abc import Iterable

import httpx
from stack import Stack

PENDING, CONFIRMED, CANCELLED = 1, 2, 3
INITIAL_STOCK = 1000
TERMINAL = {"COMPLETED", "COMPENSATED", "SUPERSEDED"}


def await_terminal(stack: Stack, saga_ids: Iterable[str], within_s: float = 30.0) -> dict[str, str]:
    """Wait until each saga has ended. Returns their statuses."""
    ended: dict[str, str] = {}
    waiting = set(saga_ids)
    deadline = time.monotonic() + within_s
    with httpx.Client(base_url=stack.url, timeout=10) as client:
        while waiting and time.monotonic() < deadline:
            for saga_id in list(waiting):
                status = client.get(f"/sagas/{saga_id}").json()["status"]
                if status in TERMINAL:
                    ended[saga_id] = status
                    waiting.discard(saga_id)
            if waiting:
                time.sleep(0.2)
    assert not waiting, f"{len(waiting)} sagas have not ended, among them {sorted(waiting)[:3]}"
    return ended


def await_all_orders_final(stack: Stack, within_s: float = 30.0) -> None:
    """Wait until no order is PENDING any more."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if not stack.rows("order", f"SELECT 1 FROM orders WHERE status = {PENDING} LIMIT 1"):
            return
        time.sleep(0.05)
    raise AssertionError("an order is still pending")


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
