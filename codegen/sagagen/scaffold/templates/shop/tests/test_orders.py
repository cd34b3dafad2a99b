"""Orders end confirmed and paid, or cancelled with nothing reserved and nothing charged.

The whole mesh runs in this process, on virtual time.
"""

import pytest

from generated.mesh import MESH
from generated.pb.shop.inventory.v1 import ReserveStockRequest, StockLine
from handlers.inventory import InventoryService
from sagagen.runtime import Declined
from sagagen.testing import Moment, SagaTest, handler_test, saga_test


def order(price: float) -> dict[str, object]:
    return {"customer_id": "cust_1", "items": [{"product_id": "prod_1", "quantity": 2, "price": price}]}


async def order_status(t: SagaTest) -> str:
    return (await t.get(f"/orders/{t.saga.id}")).json["status"]


async def reserved(t: SagaTest) -> str:
    return (await t.get("/products/prod_1/stock")).json["reserved"]


async def test_an_order_is_confirmed() -> None:
    async with saga_test(MESH) as t:
        answer = await t.post("/orders", order(50.0))
        assert (answer.status, answer.json["status"]) == (201, "PENDING")
        assert t.saga.status == "COMPLETED"
        assert await order_status(t) == "CONFIRMED"
        assert await reserved(t) == "2"


async def test_an_order_that_is_too_expensive_is_undone() -> None:
    async with saga_test(MESH) as t:
        assert (await t.post("/orders", order(600.0))).status == 201
        assert t.saga.compensated == ["reserve_stock", "create_order"]
        assert await order_status(t) == "CANCELLED"
        assert await reserved(t) == "0"


@pytest.mark.parametrize("moment", Moment)
async def test_wherever_a_process_dies_a_payment_is_charged_once(moment: Moment) -> None:
    async with saga_test(MESH) as t:
        t.crash("charge_payment", moment)
        await t.post("/orders", order(50.0))
        assert t.saga.status == "COMPLETED"
        assert t.databases["payment"].rows("SELECT status FROM payments") == [{"status": "CHARGED"}]


async def test_stock_comes_back_though_its_first_answer_is_lost() -> None:
    async with saga_test(MESH) as t:
        t.lose_answer("reserve_stock")
        t.fail("charge_payment", Declined("CARD_DECLINED"))
        t.lose_answer("reserve_stock", compensation=True)
        await t.post("/orders", order(50.0))
        assert t.saga.status == "COMPENSATED"
        assert await reserved(t) == "0"


async def test_no_more_is_reserved_than_there_is() -> None:
    async with handler_test(InventoryService) as t:
        request = ReserveStockRequest(order_id="1", lines=[StockLine(product_id="prod_1", quantity=1001)])
        with pytest.raises(Declined, match="INSUFFICIENT_STOCK"):
            await t.call(InventoryService.reserve_stock, request, saga="1")
        assert t.database.rows("SELECT sum(reserved) AS reserved FROM stock") == [{"reserved": 0}]
