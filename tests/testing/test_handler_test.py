"""One service's handlers with their barrier and their database."""

import asyncio

import pytest

from generated.mesh import MESH
from generated.pb.shop.inventory.v1 import (
    GetStockRequest,
    ReleaseStockRequest,
    ReleaseStockResponse,
    ReserveStockRequest,
    StockLine,
)
from generated.pb.shop.order.v1 import CancelOrderRequest
from handlers.inventory import InventoryService
from handlers.order import OrderService
from sagagen.runtime import Call, Declined, RpcError
from sagagen.testing import HandlerTest, TestMistake, handler_test, virtual_time

STOCK = "SELECT available, reserved FROM stock WHERE product_id = 'prod_1'"


def wanted(quantity: int = 2) -> ReserveStockRequest:
    return ReserveStockRequest(order_id="o", lines=[StockLine(product_id="prod_1", quantity=quantity)])


async def reserve(t: HandlerTest, attempt: int = 1) -> None:
    await t.call(InventoryService.reserve_stock, wanted(), saga="a", attempt=attempt)


async def release(t: HandlerTest) -> None:
    await t.call(InventoryService.release_stock, ReleaseStockRequest(order_id="o"), saga="a")


@virtual_time
async def test_a_handler_writes_into_its_own_database() -> None:
    async with handler_test(InventoryService) as t:
        await reserve(t)
        assert t.database.rows(STOCK) == [{"available": 998, "reserved": 2}]
        found = await t.call(InventoryService.get_stock, GetStockRequest(product_id="prod_1"))
        assert found.reserved == 2


@virtual_time
async def test_a_repeat_is_answered_by_the_barrier_also_after_a_restart() -> None:
    async with handler_test(InventoryService) as t:
        await reserve(t)
        await reserve(t, attempt=2)
        await t.restart()
        await reserve(t, attempt=3)
        assert t.runs == 1
        assert t.database.rows(STOCK) == [{"available": 998, "reserved": 2}]


@virtual_time
async def test_an_action_after_its_compensation_is_turned_down() -> None:
    async with handler_test(InventoryService) as t:
        await release(t)
        assert t.runs == 0
        with pytest.raises(RpcError) as caught:
            await reserve(t)
        assert caught.value.reason == "STEP_COMPENSATED"
        assert t.database.rows(STOCK) == [{"available": 1000, "reserved": 0}]


@virtual_time
async def test_errors_are_those_that_the_handler_raises() -> None:
    async with handler_test(InventoryService) as t:
        with pytest.raises(Declined) as caught:
            await t.call(InventoryService.reserve_stock, wanted(1001), saga="a")
        assert caught.value.reason == "INSUFFICIENT_STOCK"
        with pytest.raises(RpcError, match="INSUFFICIENT_STOCK"):
            await t.call(InventoryService.reserve_stock, wanted(1001), saga="a", attempt=2)
        assert t.runs == 1
        with pytest.raises(RpcError, match="no product x"):
            await t.call(InventoryService.get_stock, GetStockRequest(product_id="x"))


class Buggy(InventoryService):
    async def release_stock(self, request: ReleaseStockRequest, call: Call) -> ReleaseStockResponse:
        await call.db.execute("DELETE FROM reservations")
        await asyncio.sleep(0.5)
        raise ZeroDivisionError


@virtual_time
async def test_a_bug_is_raised_as_it_is_and_its_writes_are_undone() -> None:
    async with handler_test(Buggy()) as t:
        await reserve(t)
        with pytest.raises(ZeroDivisionError):
            await release(t)
        assert t.database.rows("SELECT quantity FROM reservations") == [{"quantity": 2}]


@virtual_time
async def test_a_direct_call_is_known_by_its_key() -> None:
    async with handler_test(InventoryService) as t:
        for _ in range(2):
            await t.call(InventoryService.reserve_stock, wanted(), key="k")
        assert t.runs == 1


@virtual_time
async def test_what_a_test_gets_wrong_is_told() -> None:
    async with handler_test(InventoryService) as t:
        with pytest.raises(TestMistake, match="no saga calls get_stock"):
            await t.call(InventoryService.get_stock, GetStockRequest(), saga="a")
        with pytest.raises(TestMistake, match='no step that calls reserve_stock "reserve"; did you mean'):
            await t.call(InventoryService.reserve_stock, wanted(), saga="a", step="reserve")
        with pytest.raises(TestMistake, match='"cancel_order"'):
            await t.call(OrderService.cancel_order, CancelOrderRequest(), saga="a")  # pyright: ignore
    with pytest.raises(TestMistake, match="str extends no class of generated"):
        handler_test(str)
    with pytest.raises(TestMistake, match='did you mean "order"'):
        handler_test(OrderService, mesh=MESH, service="ordre")
