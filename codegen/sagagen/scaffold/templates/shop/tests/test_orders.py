"""Orders end confirmed and paid, or cancelled with nothing reserved and nothing charged."""

from conftest import Mesh


def order(price: float) -> dict[str, object]:
    return {"customer_id": "cust_1", "items": [{"product_id": "prod_1", "quantity": 2, "price": price}]}


def test_an_order_is_confirmed(mesh: Mesh) -> None:
    status, placed = mesh.post("/orders", order(50.0), key="order-1")
    assert (status, placed["status"]) == (201, "PENDING")
    mesh.until(lambda: mesh.get(f"/orders/{placed['order_id']}")["status"] == "CONFIRMED")
    assert mesh.get("/products/prod_1/stock")["reserved"] == "2"


def test_an_order_that_is_too_expensive_is_undone(mesh: Mesh) -> None:
    status, placed = mesh.post("/orders", order(600.0), key="order-2")
    assert status == 201
    mesh.until(lambda: mesh.get(f"/orders/{placed['order_id']}")["status"] == "CANCELLED")
    assert mesh.get("/products/prod_1/stock")["reserved"] == "0"
