"""Dinner is brought and paid, or nobody rides, cooks or pays: the whole mesh in this process, on virtual time."""

from datetime import timedelta
from typing import Any

import pytest

from generated.mesh import MESH
from sagagen.testing import Moment, SagaTest, saga_test


def user(name: str) -> dict[str, str]:
    """What the login says; see gateway/app.py."""
    return {"x-forwarded-user": name}


ANN, MARIO, COURIER = user("ann"), user("da-mario"), user("courier-1")
YES, NO = {"accepted": True}, {"accepted": False}


def dinner(**changes: object) -> dict[str, object]:
    order: dict[str, object] = {
        "restaurant_id": "da-mario",
        "dishes": [{"dish_id": "lasagne", "quantity": 2}],
        "total_minor": 3400,
        "address": "1 Main Street, Old Town",
    }
    return order | changes


def payments(t: SagaTest) -> list[dict[str, Any]]:
    return t.databases["payment"].rows("SELECT status FROM payments")


def assert_nothing_is_left(t: SagaTest) -> None:
    assert t.saga.status == "COMPENSATED"
    assert payments(t) in ([], [{"status": "VOIDED"}])
    assert t.databases["courier"].rows("SELECT * FROM rides") == []
    assert t.databases["courier"].rows("SELECT * FROM couriers WHERE rides > 0") == []
    assert t.databases["kitchen"].rows("SELECT * FROM reservations") == []
    assert t.databases["kitchen"].rows("SELECT * FROM larder WHERE reserved > 0") == []
    assert t.databases["restaurant"].rows("SELECT * FROM tickets WHERE status = 'OPEN'") == []
    assert t.databases["loyalty"].rows("SELECT * FROM accounts") == []
    assert t.databases["notification"].rows("SELECT * FROM mails") == []


def assert_undone(t: SagaTest, *layers: set[str]) -> None:
    """Layer by layer; what stood side by side is undone side by side."""
    undone = list(t.saga.compensated)
    for layer in layers:
        assert set(undone[: len(layer)]) == layer
        undone = undone[len(layer) :]
    assert not undone


PREPARED, PAID = {"open_ticket", "assign_courier"}, {"authorise"}


async def test_dinner_is_brought() -> None:
    async with saga_test(MESH, headers=ANN) as t:
        assert (await t.post("/orders", dinner())).status == 202
        assert t.saga.status_of("answer") == "WAITING"
        assert (await t.send("answered", YES, headers=user("nobody"))).status == 403
        assert (await t.send("answered", YES, headers=MARIO)).status == 200
        assert (await t.send("picked_up", headers=COURIER)).status == 200
        assert t.saga.status == "COMPLETED"
        assert payments(t) == [{"status": "CAPTURED"}]
        assert t.databases["courier"].rows("SELECT courier_id FROM rides") == [{"courier_id": "courier-1"}]
        assert t.databases["kitchen"].rows("SELECT dish_id, quantity FROM reservations") == [
            {"dish_id": "lasagne", "quantity": 2}
        ]
        assert t.databases["loyalty"].rows("SELECT * FROM accounts") == [{"customer_id": "ann", "points": 34}]
        assert t.databases["notification"].rows("SELECT customer_id FROM mails") == [{"customer_id": "ann"}]


async def test_a_restaurant_that_says_no_ends_the_order() -> None:
    async with saga_test(MESH, headers=ANN) as t:
        await t.post("/orders", dinner())
        await t.send("answered", NO, headers=MARIO)
        assert t.saga.failure is not None
        assert t.saga.failure.reason == "RESTAURANT_SAID_NO"
        assert_nothing_is_left(t)


async def test_a_restaurant_has_ten_minutes() -> None:
    async with saga_test(MESH, headers=ANN) as t:
        await t.post("/orders", dinner())
        await t.skip("9m59s")
        assert t.saga.status == "RUNNING"
        await t.skip("1s")
        assert t.saga.failure is not None
        assert t.saga.failure.reason == "RESTAURANT_SILENT"
        assert_undone(t, PREPARED, PAID)
        assert_nothing_is_left(t)
        assert (await t.send("answered", YES, headers=MARIO)).json["reason"] == "SAGA_OVER"


async def test_a_customer_cancels_before_the_restaurant_answers() -> None:
    async with saga_test(MESH, headers=ANN) as t:
        await t.post("/orders", dinner())
        assert (await t.cancel(headers=user("bob"))).status == 403
        assert (await t.cancel()).status == 202
        assert_undone(t, PREPARED, PAID)
        assert_nothing_is_left(t)
        assert t.databases["restaurant"].rows("SELECT reason FROM tickets") == [{"reason": "CUSTOMER_CANCELLED"}]


async def test_a_customer_cancels_while_dinner_is_cooked() -> None:
    async with saga_test(MESH, headers=ANN) as t:
        await t.post("/orders", dinner())
        await t.send("answered", YES, headers=MARIO)
        assert (await t.cancel()).status == 202
        assert_undone(t, {"reserve[lasagne]"}, PREPARED, PAID)
        assert_nothing_is_left(t)


async def test_dinner_that_was_fetched_is_not_cancelled() -> None:
    async with saga_test(MESH, headers=ANN) as t:
        await t.post("/orders", dinner())
        await t.send("answered", YES, headers=MARIO)
        await t.send("picked_up", headers=COURIER)
        assert (await t.cancel()).json["reason"] in ("TOO_LATE", "SAGA_OVER")
        assert t.saga.status == "COMPLETED"


async def test_an_order_for_next_week_is_cooked_next_week() -> None:
    async with saga_test(MESH, headers=ANN) as t:
        in_a_week = t.now + timedelta(days=7)
        await t.post("/orders", dinner(deliver_at=in_a_week.isoformat()))
        assert t.saga.called == []
        await t.skip("7d")
        assert t.saga.called == ["authorise", "open_ticket", "assign_courier"]


async def test_where_no_courier_rides_nothing_is_left() -> None:
    async with saga_test(MESH, headers=ANN) as t:
        await t.post("/orders", dinner(address="9 Hill Road, Nowhere"))
        assert_undone(t, {"open_ticket"}, PAID)
        assert_nothing_is_left(t)
        assert t.databases["restaurant"].rows("SELECT reason FROM tickets") == [{"reason": "NO_COURIER"}]


async def test_what_is_sold_out_gives_back_what_was_reserved() -> None:
    async with saga_test(MESH, headers=ANN) as t:
        await t.post("/orders", dinner(dishes=[{"dish_id": dish, "quantity": 1} for dish in ("lasagne", "truffle")]))
        await t.send("answered", YES, headers=MARIO)
        assert_undone(t, {"reserve[lasagne]"}, PREPARED, PAID)
        assert_nothing_is_left(t)


async def test_who_is_known_for_fraud_spends_nothing_large() -> None:
    async with saga_test(MESH, headers=user("mallory")) as t:
        await t.post("/orders", dinner(total_minor=20_000))
        assert t.saga.failure is not None
        assert t.saga.failure.reason == "FRAUD_SUSPECTED"
        assert payments(t) == []
        assert_undone(t)
        assert_nothing_is_left(t)


async def test_small_orders_are_not_looked_at() -> None:
    async with saga_test(MESH, headers=user("mallory")) as t:
        await t.post("/orders", dinner())
        assert t.saga.status_of("check_fraud") == "SKIPPED"
        assert payments(t) == [{"status": "AUTHORISED"}]


async def test_a_mail_that_cannot_be_sent_spoils_no_dinner() -> None:
    async with saga_test(MESH, headers=user("nomail")) as t:
        await t.post("/orders", dinner())
        await t.send("answered", YES, headers=MARIO)
        await t.send("picked_up", headers=COURIER)
        assert (t.saga.status, t.saga.status_of("send_mail")) == ("COMPLETED", "GAVE_UP")
        assert t.databases["notification"].rows("SELECT * FROM mails") == []
        assert payments(t) == [{"status": "CAPTURED"}]


@pytest.mark.parametrize("step", ["authorise", "open_ticket", "assign_courier", "reserve[lasagne]"])
@pytest.mark.parametrize("moment", Moment)
async def test_wherever_a_process_dies_nothing_happens_twice(step: str, moment: Moment) -> None:
    async with saga_test(MESH, headers=ANN) as t:
        t.crash(step, moment)
        await t.post("/orders", dinner())
        await t.send("answered", YES, headers=MARIO)
        await t.send("picked_up", headers=COURIER)
        assert t.saga.status == "COMPLETED"
        assert t.databases["kitchen"].rows("SELECT reserved FROM larder WHERE dish_id = 'lasagne'") == [
            {"reserved": 2}
        ]
