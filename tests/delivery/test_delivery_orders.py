"""Dinner is ordered over HTTP, by real processes: each way that it can end, and what stands in the services then."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from delivery_project import SERVICES, SHORT_WAIT, assert_undone, delivery, effects_of, journal_of
from ordering import NOBODY_RIDES_THERE, Order, place
from postgres_server import missing
from postgres_stack import PostgresStack
from stack import Stack
from thorough import chosen

pytestmark = pytest.mark.slow

BROUGHT = {
    "payment": "CAPTURED",
    "ticket": "OPEN",
    "courier": "RIDES",
    "margherita": 2,
    "lasagne": 1,
    "points": 1,
    "mails": 1,
}
RESERVED = {"reserve[margherita]", "reserve[lasagne]"}
PREPARED = {"open_ticket", "assign_courier"}
EXPENSIVE = 20_000
"""Above what is sold to anybody without a look."""


@pytest.fixture(scope="module", params=chosen(["up", "mesh", "up on PostgreSQL"], first=1))
def stack(
    request: pytest.FixtureRequest, delivery_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    var = tmp_path_factory.mktemp("delivery") / "var"
    name, _, is_on_postgres = request.param.partition(" on ")
    if is_on_postgres and missing():
        pytest.skip(missing())
    kind = PostgresStack if is_on_postgres else Stack
    with closing(kind(var, root=delivery_root, services=SERVICES)) as stack:
        stack.start(name)
        yield stack


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A restaurant has to answer at once."""
    folder = tmp_path_factory.mktemp("impatient")
    root = delivery(folder / "delivery", SHORT_WAIT)
    with closing(Stack(folder / "var", root=root, services=SERVICES)) as stack:
        stack.start("up")
        yield stack


def undone(reason: str) -> dict[str, str]:
    return {"payment": "VOIDED", "ticket": f"WITHDRAWN: {reason}"}


def prepared(stack: Stack, customer: str = "ann") -> Order:
    """An order that only lacks the restaurant's answer."""
    order = place(stack, customer)
    order.await_done("open_ticket", "assign_courier")
    return order


def accepted(stack: Stack, customer: str = "ann") -> Order:
    """An order that waits for its courier to come."""
    order = prepared(stack, customer)
    assert order.answer(accepted=True).status_code == 200
    order.await_done("answer", *RESERVED)
    return order


def test_a_dinner_is_brought(stack: Stack) -> None:
    order = accepted(stack)
    assert order.pickup().status_code == 200
    assert order.await_end() == "COMPLETED"
    assert effects_of(stack, order.order_id) == BROUGHT


def test_events_that_come_early_are_kept(stack: Stack) -> None:
    order = place(stack)
    order.await_done("authorise")
    assert order.pickup().status_code == 200
    assert order.answer(accepted=True).status_code == 200
    assert order.await_end() == "COMPLETED"
    assert effects_of(stack, order.order_id) == BROUGHT


def test_a_restaurant_that_says_no_turns_the_order_back(stack: Stack) -> None:
    order = prepared(stack)
    assert order.answer(accepted=False).status_code == 200
    assert order.await_end() == "COMPENSATED"
    assert effects_of(stack, order.order_id) == undone("RESTAURANT_SAID_NO")
    assert_undone(stack, order.order_id, PREPARED, {"authorise"})


def test_a_restaurant_that_says_nothing_turns_the_order_back(impatient: Stack) -> None:
    order = place(impatient)
    assert order.await_end() == "COMPENSATED"
    assert order.rows("TIMED_OUT") == ["answer"]
    assert effects_of(impatient, order.order_id) == undone("RESTAURANT_SILENT")
    assert order.answer(accepted=True).json()["reason"] == "SAGA_OVER"


def test_where_no_courier_rides_nobody_waits_for_the_restaurant(stack: Stack) -> None:
    order = place(stack, address=NOBODY_RIDES_THERE)
    assert order.await_end() == "COMPENSATED"
    left = effects_of(stack, order.order_id)
    assert left.pop("ticket", "WITHDRAWN: NO_COURIER") == "WITHDRAWN: NO_COURIER"
    assert left == {"payment": "VOIDED"}
    assert journal_of(stack, order.order_id)[-1] == "undo authorise"


def test_what_is_sold_out_turns_the_whole_order_back(stack: Stack) -> None:
    dishes = [{"dish_id": "lasagne", "quantity": 1}, {"dish_id": "truffle", "quantity": 1}]
    order = place(stack, dishes=dishes)
    order.await_done("authorise")
    assert order.answer(accepted=True).status_code == 200
    assert order.await_end() == "COMPENSATED"
    assert effects_of(stack, order.order_id) == undone("SOLD_OUT")
    assert journal_of(stack, order.order_id)[-1] == "undo authorise"


def test_a_customer_cancels_before_the_restaurant_answers(stack: Stack) -> None:
    order = prepared(stack)
    assert order.cancel(key="once").status_code == 202
    assert order.await_end() == "COMPENSATED"
    assert effects_of(stack, order.order_id) == undone("CUSTOMER_CANCELLED")
    assert_undone(stack, order.order_id, PREPARED, {"authorise"})
    assert order.cancel(key="once").status_code == 202, "a repeat is answered like the first"
    again = order.again()
    assert (again.status_code, again.json()["reason"]) == (409, "CUSTOMER_CANCELLED")


def test_a_customer_cancels_while_dinner_is_cooked(stack: Stack) -> None:
    order = accepted(stack)
    assert order.cancel().status_code == 202
    assert order.await_end() == "COMPENSATED"
    assert effects_of(stack, order.order_id) == undone("CUSTOMER_CANCELLED")
    assert_undone(stack, order.order_id, RESERVED, PREPARED, {"authorise"})


def test_a_customer_cancels_too_late(stack: Stack) -> None:
    order = accepted(stack)
    assert order.pickup().status_code == 200
    answer = order.cancel()
    assert answer.status_code == 409
    assert answer.json()["reason"] in ("TOO_LATE", "SAGA_OVER")
    assert order.await_end() == "COMPLETED"
    assert effects_of(stack, order.order_id) == BROUGHT


def test_only_who_may_is_heard(stack: Stack) -> None:
    order = prepared(stack)
    assert order.answer(accepted=True, by="la mamma").status_code == 403
    assert order.cancel(by="bob").status_code == 403
    assert order.send("pickup", {}, "ann").status_code == 403
    assert Order(stack, "7a7b9d84-0000-5000-8000-000000000000", "ann").pickup().status_code == 404
    assert order.cancel().status_code == 202
    assert order.await_end() == "COMPENSATED"


def test_an_event_counts_once(stack: Stack) -> None:
    order = prepared(stack)
    first = order.answer(accepted=True, key="first")
    assert first.status_code == 200, first.text
    assert order.answer(accepted=True, key="first").content == first.content
    assert order.answer(accepted=False, key="first").status_code == 422
    assert order.answer(accepted=True, key="second").json()["reason"] == "NOT_EXPECTED"
    assert order.pickup().status_code == 200
    assert order.await_end() == "COMPLETED"
    assert order.answer(accepted=True, key="first").content == first.content
    assert order.answer(accepted=True, key="third").json()["reason"] == "SAGA_OVER"


def test_a_mail_that_bounces_spoils_no_dinner(stack: Stack) -> None:
    order = accepted(stack, "nomail")
    assert order.pickup().status_code == 200
    assert order.await_end() == "COMPLETED"
    assert order.view()["incomplete"] == ["send_mail"]
    assert effects_of(stack, order.order_id) == {key: BROUGHT[key] for key in BROUGHT if key != "mails"}


def test_fraud_is_looked_for_where_much_is_at_stake(stack: Stack) -> None:
    order = place(stack, "mallory", total_minor=EXPENSIVE)
    assert order.await_end() == "COMPENSATED"
    assert effects_of(stack, order.order_id) == {}
    small = accepted(stack, "mallory")
    assert small.rows("SKIPPED") == ["check_fraud"]
    assert small.pickup().status_code == 200
    assert small.await_end() == "COMPLETED"
