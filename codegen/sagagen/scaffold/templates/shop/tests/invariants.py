"""What holds in the shop whenever no order is under way. `sagagen test --matrix` and `sagagen simulate` ask for it."""

from collections.abc import Iterator

from sagagen.testing.invariants import Databases

AT_FIRST = 1000
"""Of each product in stock."""
CONFIRMED, CANCELLED = 2, 3


def invariant_no_stock_is_lost(databases: Databases) -> Iterator[str]:
    for row in databases["inventory"].execute("SELECT * FROM stock"):
        if row["available"] + row["reserved"] != AT_FIRST:
            yield f"{row['product_id']}: {row['available']} are available and {row['reserved']} reserved"


def invariant_what_is_reserved_has_an_owner(databases: Databases) -> Iterator[str]:
    query = (
        "SELECT product_id, reserved, (SELECT coalesce(sum(quantity), 0) FROM reservations AS r "
        "WHERE r.product_id = stock.product_id) AS owned FROM stock"
    )
    for row in databases["inventory"].execute(query):
        if row["reserved"] != row["owned"]:
            yield f"{row['product_id']}: {row['reserved']} are reserved, and orders have {row['owned']}"


def invariant_an_order_is_confirmed_or_cancelled(databases: Databases) -> Iterator[str]:
    for row in databases["order"].execute("SELECT order_id, status FROM orders"):
        if row["status"] not in (CONFIRMED, CANCELLED):
            yield f"order {row['order_id']} has status {row['status']}"


def invariant_confirmed_orders_are_paid_and_no_others(databases: Databases) -> Iterator[str]:
    charged = {
        row["order_id"]: row["amount_minor"]
        for row in databases["payment"].execute("SELECT * FROM payments WHERE status = 'CHARGED'")
    }
    for row in databases["order"].execute("SELECT order_id, total_minor, status FROM orders"):
        amount = charged.pop(row["order_id"], None)
        if row["status"] == CONFIRMED and amount != row["total_minor"]:
            yield f"order {row['order_id']} costs {row['total_minor']}, and {amount} were charged"
        if row["status"] != CONFIRMED and amount is not None:
            yield f"order {row['order_id']} is not confirmed, and {amount} were charged"
    for order_id, amount in charged.items():
        yield f"{amount} were charged for order {order_id}, which nobody placed"


def invariant_confirmed_orders_keep_their_stock(databases: Databases) -> Iterator[str]:
    reserved = {row["order_id"] for row in databases["inventory"].execute("SELECT order_id FROM reservations")}
    confirmed = {
        row["order_id"]
        for row in databases["order"].execute("SELECT order_id FROM orders WHERE status = ?", (CONFIRMED,))
    }
    for order_id in sorted(reserved ^ confirmed):
        has = "has stock and is not confirmed" if order_id in reserved else "is confirmed and has no stock"
        yield f"order {order_id} {has}"
