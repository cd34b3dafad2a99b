"""Inventory: sets stock aside for orders, and gives it back."""

from collections import Counter

from grpclib.const import Status

from generated.pb.shop.inventory.v1 import (
    GetStockRequest,
    GetStockResponse,
    ReleaseStockRequest,
    ReleaseStockResponse,
    ReserveStockRequest,
    ReserveStockResponse,
)
from generated.services.inventory import InventoryHandlers
from sagagen.runtime import Call, Declined, RpcError


class InventoryService(InventoryHandlers):
    async def reserve_stock(self, request: ReserveStockRequest, call: Call) -> ReserveStockResponse:
        wanted = Counter[str]()
        for line in request.lines:
            wanted[line.product_id] += line.quantity
        # In one order, whoever asks: two orders that each wait for a row of the other's would both fail.
        for product_id, quantity in sorted(wanted.items()):
            taken = await call.db.execute(
                "UPDATE stock SET available = available - ?1, reserved = reserved + ?1 "
                "WHERE product_id = ?2 AND available >= ?1",
                (quantity, product_id),
            )
            if not taken:
                raise Declined("INSUFFICIENT_STOCK", f"fewer than {quantity} of {product_id} are left")
        await call.db.executemany(
            "INSERT INTO reservations (order_id, product_id, quantity) VALUES (?, ?, ?)",
            [(request.order_id, product_id, quantity) for product_id, quantity in wanted.items()],
        )
        return ReserveStockResponse()

    async def release_stock(self, request: ReleaseStockRequest, call: Call) -> ReleaseStockResponse:
        await call.db.execute(
            "UPDATE stock SET available = available + r.quantity, reserved = reserved - r.quantity "
            "FROM reservations AS r WHERE r.order_id = ? AND stock.product_id = r.product_id",
            (request.order_id,),
        )
        await call.db.execute("DELETE FROM reservations WHERE order_id = ?", (request.order_id,))
        return ReleaseStockResponse()

    async def get_stock(self, request: GetStockRequest, call: Call) -> GetStockResponse:
        rows = await call.db.fetch(
            "SELECT available, reserved FROM stock WHERE product_id = ?", (request.product_id,)
        )
        if not rows:
            raise RpcError(Status.NOT_FOUND, f"no product {request.product_id}")
        return GetStockResponse(
            product_id=request.product_id, available=rows[0]["available"], reserved=rows[0]["reserved"]
        )
