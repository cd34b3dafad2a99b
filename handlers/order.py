"""Orders: stored when placed, then confirmed or cancelled."""

from datetime import UTC, datetime

from grpclib.const import Status

from generated.pb.shop.order.v1 import (
    CancelOrderRequest,
    CancelOrderResponse,
    ConfirmOrderRequest,
    ConfirmOrderResponse,
    CreateOrderRequest,
    CreateOrderResponse,
    GetOrderRequest,
    GetOrderResponse,
    Order,
    OrderItem,
    OrderStatus,
)
from generated.services.order import OrderHandlers
from sagagen.runtime import Call, Db, RpcError


class OrderService(OrderHandlers):
    async def create_order(self, request: CreateOrderRequest, call: Call) -> CreateOrderResponse:
        total_minor = sum(item.quantity * item.unit_price_minor for item in request.items)
        await call.db.execute(
            "INSERT INTO orders (order_id, customer_id, status, total_minor, create_time, update_time) "
            "VALUES (?, ?, ?, ?, ?5, ?5)",
            (request.order_id, request.customer_id, int(OrderStatus.PENDING), total_minor, now()),
        )
        await call.db.executemany(
            "INSERT INTO order_items (order_id, line, product_id, quantity, unit_price_minor) "
            "VALUES (?, ?, ?, ?, ?)",
            [
                (request.order_id, line, item.product_id, item.quantity, item.unit_price_minor)
                for line, item in enumerate(request.items)
            ],
        )
        return CreateOrderResponse(order=await read_order(call.db, request.order_id))

    async def confirm_order(self, request: ConfirmOrderRequest, call: Call) -> ConfirmOrderResponse:
        await set_status(call.db, request.order_id, OrderStatus.CONFIRMED)
        return ConfirmOrderResponse(order=await read_order(call.db, request.order_id))

    async def cancel_order(self, request: CancelOrderRequest, call: Call) -> CancelOrderResponse:
        await set_status(call.db, request.order_id, OrderStatus.CANCELLED, request.reason)
        return CancelOrderResponse(order=await read_order(call.db, request.order_id))

    async def get_order(self, request: GetOrderRequest, call: Call) -> GetOrderResponse:
        return GetOrderResponse(order=await read_order(call.db, request.order_id))


async def set_status(db: Db, order_id: str, status: OrderStatus, reason: str | None = None) -> None:
    await db.execute(
        "UPDATE orders SET status = ?, cancel_reason = ?, update_time = ? WHERE order_id = ?",
        (int(status), reason, now(), order_id),
    )


async def read_order(db: Db, order_id: str) -> Order:
    rows = await db.fetch("SELECT * FROM orders WHERE order_id = ?", (order_id,))
    if not rows:
        raise RpcError(Status.NOT_FOUND, f"no order {order_id}")
    items = await db.fetch("SELECT * FROM order_items WHERE order_id = ? ORDER BY line", (order_id,))
    return Order(
        order_id=order_id,
        customer_id=rows[0]["customer_id"],
        status=OrderStatus(rows[0]["status"]),
        items=[OrderItem(i["product_id"], i["quantity"], i["unit_price_minor"]) for i in items],
        total_minor=rows[0]["total_minor"],
        cancel_reason=rows[0]["cancel_reason"],
        create_time=datetime.fromisoformat(rows[0]["create_time"]),
        update_time=datetime.fromisoformat(rows[0]["update_time"]),
    )


def now() -> str:
    return datetime.now(UTC).isoformat()
