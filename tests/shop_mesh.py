"""The shop in this process, as generated code describes it: its one saga, and an order to begin it with."""

from small_mesh import acceptance

from generated.mesh import MESH
from generated.pb.shop.checkout.v1 import CartItem, PlaceOrderRequest
from sagagen.runtime.engine.port import Acceptance
from sagagen.runtime.identity import saga_id
from sagagen.runtime.model.definition import Saga

(PLACE_ORDER,) = MESH.sagas
ORDER_ID = saga_id("shop", "anonymous", PLACE_ORDER.trigger.path, "key-1")


def order(
    price: float, order_id: str = ORDER_ID, *, customer: str = "cust_1", saga: Saga = PLACE_ORDER
) -> Acceptance:
    """An order of two pieces."""
    cart = [CartItem(product_id="prod_1", quantity=2, price=price)]
    return acceptance(saga, order_id, PlaceOrderRequest(customer_id=customer, items=cart))
