"""What holds whenever no dinner is under way. `sagagen test --matrix` and `sagagen simulate` ask for it."""

from collections.abc import Iterator

from sagagen.testing.invariants import Databases

AT_FIRST = {"margherita": 100_000, "lasagne": 100_000, "tiramisu": 100_000, "truffle": 0}


def invariant_every_dinner_is_paid_or_given_up(databases: Databases) -> Iterator[str]:
    for row in databases["payment"].execute("SELECT order_id, status FROM payments WHERE status = 'AUTHORISED'"):
        yield f"order {row['order_id']} is {row['status']}, and nobody captures or voids it"


def invariant_couriers_ride_for_dinners_that_are_paid(databases: Databases) -> Iterator[str]:
    yield from _same("has a courier", _orders(databases, "courier", "SELECT order_id FROM rides"), databases)


def invariant_tickets_stay_open_for_dinners_that_are_paid(databases: Databases) -> Iterator[str]:
    tickets = _orders(databases, "restaurant", "SELECT order_id FROM tickets WHERE status = 'OPEN'")
    yield from _same("has an open ticket", tickets, databases)


def invariant_couriers_know_how_many_rides_they_have(databases: Databases) -> Iterator[str]:
    query = (
        "SELECT courier_id, rides, (SELECT count(*) FROM rides AS r WHERE r.courier_id = couriers.courier_id) AS has "
        "FROM couriers"
    )
    for row in databases["courier"].execute(query):
        if row["rides"] != row["has"]:
            yield f"{row['courier_id']} has {row['has']} rides, and counts {row['rides']}"


def invariant_the_larder_adds_up(databases: Databases) -> Iterator[str]:
    query = (
        "SELECT dish_id, available, reserved, (SELECT coalesce(sum(quantity), 0) FROM reservations AS r "
        "WHERE r.dish_id = larder.dish_id) AS owned FROM larder"
    )
    for row in databases["kitchen"].execute(query):
        if row["available"] + row["reserved"] != AT_FIRST[row["dish_id"]]:
            yield f"{row['dish_id']}: {row['available']} are available and {row['reserved']} reserved"
        if row["reserved"] != row["owned"]:
            yield f"{row['dish_id']}: {row['reserved']} are reserved, and dinners have {row['owned']}"


def invariant_nobody_gets_mail_for_a_dinner_that_is_not_paid(databases: Databases) -> Iterator[str]:
    for order_id in _orders(databases, "notification", "SELECT order_id FROM mails") - _paid(databases):
        yield f"order {order_id} has a mail and is not paid"


def _same(what: str, orders: set[str], databases: Databases) -> Iterator[str]:
    paid = _paid(databases)
    yield from (f"order {order_id} {what}, and is not paid" for order_id in sorted(orders - paid))
    yield from (f"order {order_id} is paid, and nothing {what}" for order_id in sorted(paid - orders))


def _paid(databases: Databases) -> set[str]:
    return _orders(databases, "payment", "SELECT order_id FROM payments WHERE status = 'CAPTURED'")


def _orders(databases: Databases, service: str, query: str) -> set[str]:
    return {row["order_id"] for row in databases[service].execute(query)}
