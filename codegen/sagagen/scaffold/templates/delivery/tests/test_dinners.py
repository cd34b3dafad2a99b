"""Dinner is brought and paid, or nobody rides, cooks or pays."""

from dataclasses import dataclass
from typing import Any

from conftest import Mesh


@dataclass
class Dinner:
    """An order, and what customer, restaurant and courier do about it."""

    mesh: Mesh
    order_id: str

    def saga(self) -> Any:
        return self.mesh.get(f"/sagas/{self.order_id}", headers=user("ann"))

    def await_status(self, status: str) -> None:
        self.mesh.until(lambda: self.saga()["status"] == status)

    def await_waiting(self) -> None:
        """For the restaurant's answer."""
        self.mesh.until(lambda: any(step["event"] == "answered" for step in self.saga()["steps"]))

    def send(self, what: str, body: object, sender: str) -> int:
        return self.mesh.post(f"/orders/{self.order_id}{what}", body, key=what, headers=user(sender))[0]


def user(name: str) -> dict[str, str]:
    """What the login says; see gateway/app.py."""
    return {"x-forwarded-user": name}


def order(mesh: Mesh, **changes: object) -> Dinner:
    body = {
        "restaurant_id": "da-mario",
        "dishes": [{"dish_id": "lasagne", "quantity": 2}],
        "total_minor": 3400,
        "address": "1 Main Street, Old Town",
    }
    status, placed = mesh.post("/orders", body | changes, key="dinner", headers=user("ann"))
    assert status == 202
    return Dinner(mesh, placed["order_id"])


def test_dinner_is_brought(mesh: Mesh) -> None:
    dinner = order(mesh)
    dinner.await_waiting()
    assert dinner.send("/answer", {"accepted": True}, "nobody") == 403
    assert dinner.send("/answer", {"accepted": True}, "da-mario") == 200
    assert dinner.send("/pickup", {}, "courier-1") == 200
    dinner.await_status("COMPLETED")


def test_a_customer_cancels(mesh: Mesh) -> None:
    dinner = order(mesh)
    dinner.await_waiting()
    assert dinner.send(":cancel", {}, "ann") == 202
    dinner.await_status("COMPENSATED")


def test_where_no_courier_rides_nothing_is_left(mesh: Mesh) -> None:
    order(mesh, address="9 Hill Road, Nowhere").await_status("COMPENSATED")
