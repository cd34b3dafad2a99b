"""What customers, restaurants and couriers send over HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
from stack import Stack
from waiting import eventually

RESTAURANT = "da-mario"
COURIER = "courier-1"
NOBODY_RIDES_THERE = "9 Hill Road, Nowhere"
ENDED = ("COMPLETED", "COMPENSATED", "SUPERSEDED")


def order_body(**changes: Any) -> dict[str, Any]:
    return {
        "restaurant_id": RESTAURANT,
        "dishes": [{"dish_id": "margherita", "quantity": 2}, {"dish_id": "lasagne", "quantity": 1}],
        "total_minor": 3400,
        "address": "1 Main Street, Old Town",
    } | changes


@dataclass(frozen=True)
class Order:
    """An order that was accepted."""

    stack: Stack
    order_id: str
    customer: str
    key: str = ""

    def again(self) -> httpx.Response:
        """The same order once more, as it is where nothing else was asked for."""
        return _post(self.stack, "/orders", order_body(), self.customer, self.key)

    def answer(self, *, accepted: bool, by: str = RESTAURANT, key: str = "") -> httpx.Response:
        return self.send("answer", {"accepted": accepted}, by, key)

    def pickup(self, key: str = "") -> httpx.Response:
        return self.send("pickup", {}, COURIER, key)

    def cancel(self, *, by: str = "", key: str = "") -> httpx.Response:
        return _post(self.stack, f"/orders/{self.order_id}:cancel", {}, by or self.customer, key)

    def send(self, event: str, body: Mapping[str, Any], by: str, key: str = "") -> httpx.Response:
        return _post(self.stack, f"/orders/{self.order_id}/{event}", body, by, key)

    # -- how it stands ------------------------------------------------------------------------------------------

    def view(self) -> dict[str, Any]:
        """As operators see it."""
        return self.stack.admin.get(f"/sagas/{self.order_id}").json()

    def rows(self, kind: str) -> list[str]:
        """The steps that have a row of this kind in the log."""
        query = (
            "SELECT event.step FROM event JOIN saga ON saga.number = event.saga "
            f"WHERE saga.saga_id = '{self.order_id}' AND event.kind = '{kind}'"
        )
        return [row["step"] for row in self.stack.rows("saga-log", query)]

    def await_done(self, *steps: str) -> None:
        eventually(f"{steps} of {self.order_id} to be done", lambda: self.rows("DONE"), set(steps).issubset)

    def await_end(self) -> str:
        """The status that the saga has in the end."""
        return eventually("the order to end", lambda: self.view()["status"], ENDED.__contains__)


def place(stack: Stack, customer: str = "ann", **changes: Any) -> Order:
    """Order dinner. An order that is not accepted is a failure."""
    key = uuid4().hex
    answer = _post(stack, "/orders", order_body(**changes), customer, key)
    assert answer.status_code == 202, answer.text
    return Order(stack, order_id_of(answer), customer, key)


def order_id_of(answer: httpx.Response) -> str:
    """Whoever starts a saga is told its address, which ends with its id."""
    return answer.headers["location"].rpartition("/")[2]


def _post(stack: Stack, path: str, body: Mapping[str, Any], caller: str, key: str = "") -> httpx.Response:
    headers = {"X-Idempotency-Key": key or uuid4().hex, "X-Forwarded-User": caller}
    return stack.http.post(path, json=body, headers=headers)
